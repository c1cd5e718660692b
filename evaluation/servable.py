"""Asks a servable the evaluation requests, as a server would ask it."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evaluation.eval_set import EvalCatalog
from evaluation.example_columns import StrPath
from evaluation.metrics import NOT_AN_ITEM, FloatArray, IntArray
from schema import features
from schema.artifacts import CARD_FILE
from schema.servable_files import read_shard_map, saved_models
from schema.settings import InputError
from souk_client.answers import Row
from souk_client.shard_merge import merge

_WARM_UP_CALLS = 10
# Items per call where their vectors are asked for.
ITEM_BATCH = 1024

# What a signature answers: its outputs by name, one row per input.
Answer = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Retrieved:
    """What a servable answered.

    Attributes:
      rows: [requests, k] catalog rows, best first; -1 for padding and for ids that are not in the catalog.
      scores: [requests, k]; -inf for padding.
      unknown: answered ids that are not in the catalog (a servable built for another catalog).
    """

    rows: IntArray
    scores: FloatArray
    unknown: int

    @property
    def empty_share(self) -> float:
        """Share of requests that got nothing at all."""
        return float((self.rows[:, :1] == NOT_AN_ITEM).all(axis=1).mean()) if len(self.rows) else 0.0

    @property
    def not_a_number(self) -> int:
        """Requests with a score that is not a number."""
        return int(np.isnan(self.scores).any(axis=1).sum())


class LoadedServable:
    """A loaded servable: the SavedModel that TF Serving is given, or those of all its shards, asked as one.

    Answers of shards are merged by what the client merges them by.

    Args:
      path: folder with `saved_model.pb`, or with the map of the shards.

    Raises:
      InputError: no SavedModel is there, or it lacks a signature that serving needs.
    """

    def __init__(self, path: StrPath):
        import scann  # noqa: F401  (registers the index's TensorFlow operations)

        self.path = os.fspath(path)
        # Signatures live only as long as the object that holds their variables.
        self._models = [tf.saved_model.load(folder) for folder in saved_models(self.path)]
        self._shards = [dict(model.signatures) for model in self._models]
        # All shards have the same towers; the first one encodes.
        self._signatures = self._shards[0]
        wanted = {features.SIGNATURE_DEFAULT, features.SIGNATURE_QUERY_TEXT}
        for signatures in self._shards:
            if missing := wanted - set(signatures):
                raise InputError(
                    f"{self.path} has no signature {', '.join(sorted(missing))} (it has "
                    f"{', '.join(sorted(signatures)) or 'none'}), so it is not a servable of Souk. Build it "
                    "with the IndexBuilder."
                )
        self.card = read_card(self.path)

    def retrieve(self, examples: Sequence[bytes], catalog: EvalCatalog, batch_size: int = 256) -> Retrieved:
        """Answers of `serving_default` to serialized search examples."""
        return retrieved(self.ask(features.SIGNATURE_DEFAULT, examples, batch_size), catalog)

    def encode_query(self, examples: Sequence[bytes], batch_size: int = 256) -> NDArray[np.float32]:
        """Query vectors, [requests, heads, dim]."""
        return self.ask(features.SIGNATURE_ENCODE_QUERY, examples, batch_size)[features.OUTPUT_VECTORS]

    def encode_items(self, examples: Sequence[bytes], batch_size: int = ITEM_BATCH) -> NDArray[np.float32]:
        """Item vectors, [items, dim], of serialized catalog examples."""
        return self.ask(features.SIGNATURE_ENCODE_ITEMS, examples, batch_size)[features.OUTPUT_VECTORS]

    def ask(self, signature: str, inputs: Sequence[bytes], batch_size: int) -> Answer:
        """What a signature answers to its inputs, `batch_size` at a time.

        Raises:
          InputError: the servable has no such signature.
        """
        if signature not in self._signatures:
            raise InputError(f"{self.path} has no signature `{signature}`; build it with the IndexBuilder.")
        searches = signature in (features.SIGNATURE_DEFAULT, features.SIGNATURE_QUERY_TEXT)
        shards = self._shards if searches else self._shards[:1]
        argument = features.INPUT_QUERY if signature == features.SIGNATURE_QUERY_TEXT else features.INPUT_EXAMPLES
        answers: list[Answer] = []
        for start in range(0, len(inputs), batch_size):
            batch = tf.constant(list(inputs[start : start + batch_size]), dtype=tf.string)
            outputs = [shard[signature](**{argument: batch}) for shard in shards]
            answers.append(_merged(outputs) if searches else _vectors(outputs[0]))
        return concatenate(answers)

    def can_encode(self) -> bool:
        """Whether the servable gives out its vectors."""
        return {features.SIGNATURE_ENCODE_QUERY, features.SIGNATURE_ENCODE_ITEMS} <= set(self._signatures)

    def latencies_ms(self, examples: Sequence[bytes]) -> FloatArray:
        """Time of one call of `serving_default` per request, in process and after a warm-up, [requests] ms.

        Of shards, which work at the same time on machines of their own, the slowest one's.
        """
        return np.max([_latencies_ms(signatures, examples) for signatures in self._shards], axis=0)


def concatenate(answers: Sequence[Answer]) -> Answer:
    """One answer out of those to some inputs and to the ones after them."""
    return {name: np.concatenate([answer[name] for answer in answers]) for name in (answers[0] if answers else ())}


def retrieved(answer: Answer, catalog: EvalCatalog) -> Retrieved:
    """The items of `catalog` in an answer of `serving_default` or `query_text`."""
    if not answer:
        return Retrieved(np.zeros((0, 0), np.int64), np.zeros((0, 0)), 0)
    rows, unknown = _catalog_rows(answer[features.OUTPUT_ITEM_IDS], catalog)
    return Retrieved(rows, answer[features.OUTPUT_SCORES], unknown)


def holds_servable(path: StrPath) -> bool:
    """Whether a SavedModel lies at `path`, or those of all shards of one do."""
    try:
        saved_models(os.fspath(path))
    except InputError:
        return False
    return True


def read_card(servable_dir: StrPath) -> dict[str, Any]:
    """The servable's `souk.json`: model type, index, training history; empty where it has none.

    Of one in shards, that of the shard with the most items, with what holds for all of them together.
    """
    shard_map = read_shard_map(os.fspath(servable_dir))
    if shard_map is None:
        return _read_card(os.fspath(servable_dir))
    largest = shard_map.indexed_items.index(max(shard_map.indexed_items))
    return {
        **_read_card(shard_map.folders_from(os.fspath(servable_dir))[largest]),
        "shards": shard_map.shards,
        "catalog_items": sum(shard_map.items),
        "indexed_items": sum(shard_map.indexed_items),
    }


def _read_card(folder: str) -> dict[str, Any]:
    path = os.path.join(folder, CARD_FILE)
    if not tf.io.gfile.exists(path):
        return {}
    with tf.io.gfile.GFile(path) as file:
        return dict(json.load(file))


def _latencies_ms(signatures: Mapping[str, Any], examples: Sequence[bytes]) -> FloatArray:
    call = signatures[features.SIGNATURE_DEFAULT]
    inputs = [tf.constant([example]) for example in examples]
    for example in (inputs * _WARM_UP_CALLS)[:_WARM_UP_CALLS]:
        call(**{features.INPUT_EXAMPLES: example})
    times = []
    for example in inputs:
        start = time.perf_counter()
        call(**{features.INPUT_EXAMPLES: example})[features.OUTPUT_ITEM_IDS].numpy()
        times.append(time.perf_counter() - start)
    return np.asarray(times, dtype=np.float64) * 1000.0


def _vectors(output: Mapping[str, tf.Tensor]) -> Answer:
    return {features.OUTPUT_VECTORS: output[features.OUTPUT_VECTORS].numpy().astype(np.float32)}


def _merged(outputs: Sequence[Mapping[str, tf.Tensor]]) -> Answer:
    """The ids and scores of a batch, both [batch, k], out of what each shard answered."""
    if len(outputs) == 1:
        ids, scores = (outputs[0][name].numpy() for name in (features.OUTPUT_ITEM_IDS, features.OUTPUT_SCORES))
        return {features.OUTPUT_ITEM_IDS: ids, features.OUTPUT_SCORES: scores.astype(np.float64)}
    rows = [merge(parts) for parts in zip(*map(_rows, outputs), strict=True)]
    return {
        features.OUTPUT_ITEM_IDS: np.array([row.ids for row in rows], dtype=object),
        features.OUTPUT_SCORES: np.array([row.scores for row in rows]),
    }


def _rows(answer: Mapping[str, tf.Tensor]) -> list[Row]:
    ids, scores = (answer[name].numpy().tolist() for name in (features.OUTPUT_ITEM_IDS, features.OUTPUT_SCORES))
    control = answer.get(features.OUTPUT_RELEVANCE_CONTROL)
    done = [None] * len(ids) if control is None else [value.decode() for value in control.numpy()]
    return [Row(*parts) for parts in zip(ids, scores, done, strict=True)]


def _catalog_rows(item_ids: NDArray[np.object_], catalog: EvalCatalog) -> tuple[IntArray, int]:
    distinct, inverse = np.unique(item_ids.ravel().astype(object), return_inverse=True)
    known = np.array(
        [catalog.rows.get(item.decode("utf-8", errors="replace"), NOT_AN_ITEM) for item in distinct],
        dtype=np.int64,
    )
    rows = known[inverse].reshape(item_ids.shape)
    return rows, int(np.count_nonzero((rows == NOT_AN_ITEM) & (item_ids != b"")))

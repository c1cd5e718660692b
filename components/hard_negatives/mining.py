"""Gives each training request items that the last blessed model ranks well for it though nobody took them.

The band of ranks is that of the request itself, with its user's history, and not of the bare query: what the model
holds best for this user is then left out, as it may be good and merely unseen. Ranks come from exact search over the
servable's own vectors, since the servable answers fewer items than the band is deep, and over the catalog of the
new data, so that items that are gone do not come up and new ones do. The band of 101 to 500 is what Huang et al.
found best (Embedding-based Retrieval in Facebook Search, KDD 2020, section 6.1).
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.hard_negatives.config import HardNegativesConfig
from components.hard_negatives.train_split import Request, TrainSplit, priority, read_requests, read_train_split
from evaluation.eval_set import EvalCatalog, read_catalog
from evaluation.exact_search import exact_search
from evaluation.example_columns import StrPath
from evaluation.metrics import IntArray
from evaluation.servable import LoadedServable
from schema import features
from schema.artifacts import split_folder
from schema.settings import InputError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mined:
    """What was mined: requests that took an item, those of them given hard negatives, and how many of these."""

    requests: int = 0
    mined_requests: int = 0
    negatives: int = 0


@dataclass(frozen=True)
class ItemGroups:
    """Items that the model cannot tell apart, such as one product listed twice, are one: a group.

    Attributes:
      vectors: [groups, dim].
      item_ids: [groups] the id that stands for each group.
      group_of: the group of every item of the catalog.
    """

    vectors: NDArray[np.float32]
    item_ids: tuple[bytes, ...]
    group_of: dict[bytes, int]


def mine(
    examples_dir: StrPath, servable_dir: StrPath | None, output_dir: StrPath, config: HardNegativesConfig
) -> Mined:
    """Writes the splits of `examples_dir` to `output_dir`, with `hard_negatives` in the train split's examples.

    Args:
      examples_dir: root of an Examples artifact.
      servable_dir: the last blessed servable; None, before there is one, copies all as it is.
      output_dir: root of the new artifact.
      config: band and amounts.

    Raises:
      InputError: the servable or the examples cannot be used, or the band begins past the catalog's end.
    """
    splits = [split for split in features.SPLITS if servable_dir is None or split != features.TRAIN_SPLIT]
    for split in splits:
        _copy_split(examples_dir, output_dir, split)
    if servable_dir is None:
        _logger.info("there is no blessed model yet: this run trains without hard negatives")
        return Mined()

    servable = LoadedServable(servable_dir)
    groups = group_items(read_catalog(examples_dir), servable, config)
    files = _files(examples_dir, features.TRAIN_SPLIT)
    train = read_train_split(files, groups.group_of, config.max_requests, config.seed)
    mined = negatives = 0
    for file in files:
        target = os.path.join(_made_split(output_dir, features.TRAIN_SPLIT), os.path.basename(file))
        with tf.io.TFRecordWriter(target, "GZIP") as writer:
            for batch in read_requests(file):
                found = hard_negatives(batch, servable, groups, train, config)
                for request in batch:
                    ids = found.get(request.request_id, ())
                    mined, negatives = mined + bool(ids), negatives + len(ids)
                    writer.write(with_hard_negatives(request.example, ids))
                _logger.info("%d of %d requests have hard negatives", mined, train.requests)
    return Mined(train.requests, mined, negatives)


def group_items(catalog: EvalCatalog, servable: LoadedServable, config: HardNegativesConfig) -> ItemGroups:
    """The catalog's items by their vectors.

    Raises:
      InputError: there are fewer groups than `first_rank`.
    """
    vectors = servable.encode_items(catalog.examples)
    as_bytes = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.itemsize * vectors.shape[1]))).ravel()
    _, first, group = np.unique(as_bytes, return_index=True, return_inverse=True)
    if len(first) < config.first_rank:
        raise InputError(
            f"the band of hard negatives begins at rank {config.first_rank}, but the catalog has only "
            f"{len(first)} items that the model tells apart ({len(catalog)} in all). Lower "
            "`hard_negatives.first_rank` (and `last_rank`), or set `hard_negatives.enabled: false`"
        )
    if len(first) < config.last_rank:
        _logger.warning("the band of hard negatives ends at rank %d, where the catalog ends", len(first))
    ids = [item_id.encode() for item_id in catalog.item_ids]
    return ItemGroups(
        vectors[first], tuple(ids[row] for row in first), dict(zip(ids, group.ravel().tolist(), strict=True))
    )


def hard_negatives(
    batch: Sequence[Request],
    servable: LoadedServable,
    groups: ItemGroups,
    train: TrainSplit,
    config: HardNegativesConfig,
) -> dict[bytes, tuple[bytes, ...]]:
    """Item ids by request id, for those requests of the batch that are to be mined for."""
    chosen = [
        request
        for request in batch
        if request.taken and priority(request.request_id, config.seed) <= train.last_priority
    ]
    if not chosen:
        return {}
    vectors = servable.encode_query([request.example for request in chosen], config.batch_size)
    # Users without history who ask the same are the same to the model: searched once.
    distinct, place = np.unique(vectors.reshape(len(chosen), -1), axis=0, return_inverse=True)
    ranked, _ = exact_search(distinct.reshape(-1, *vectors.shape[1:]), groups.vectors, config.last_rank)
    found = {}
    for request, row in zip(chosen, place.ravel(), strict=True):
        own = [groups.group_of[item] for item in request.items if item in groups.group_of]
        excluded = np.concatenate([train.taken_for(request.query), np.asarray(own, np.int64)])
        drawn = draw(
            ranked[row, config.first_rank - 1 :], excluded, config.per_request, request.request_id, config.seed
        )
        found[request.request_id] = tuple(groups.item_ids[group] for group in drawn)
    return found


def draw(band: IntArray, excluded: IntArray, count: int, request_id: bytes, seed: int) -> IntArray:
    """Up to `count` different ones of `band` that are not in `excluded`; the same for the same request and seed."""
    left = band[~np.isin(band, excluded)]
    random = np.random.default_rng(priority(request_id, seed))
    return random.choice(left, size=min(count, len(left)), replace=False)


def with_hard_negatives(example: bytes, item_ids: Sequence[bytes]) -> bytes:
    """A serialized tf.Example with `hard_negatives`; as it was where there are none."""
    if not item_ids:
        return example
    parsed = tf.train.Example.FromString(example)
    parsed.features.feature[features.HARD_NEGATIVES].bytes_list.value[:] = item_ids
    return bytes(parsed.SerializeToString(deterministic=True))


def _copy_split(examples_dir: StrPath, output_dir: StrPath, split: str) -> None:
    folder = _made_split(output_dir, split)
    for file in _files(examples_dir, split):
        tf.io.gfile.copy(file, os.path.join(folder, os.path.basename(file)), overwrite=True)


def _made_split(output_dir: StrPath, split: str) -> str:
    folder = os.path.join(os.fspath(output_dir), split_folder(split))
    tf.io.gfile.makedirs(folder)
    return folder


def _files(examples_dir: StrPath, split: str) -> list[str]:
    folder = os.path.join(os.fspath(examples_dir), split_folder(split))
    if not tf.io.gfile.isdir(folder):
        raise InputError(
            f"{examples_dir} has no folder `Split-{split}`, so it is not an Examples artifact of Souk. "
            "Give the folder that `souk ingest --out` or the pipeline's SoukExampleGen wrote."
        )
    return sorted(tf.io.gfile.glob(os.path.join(folder, "*")))

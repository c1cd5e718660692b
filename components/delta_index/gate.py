"""What a delta index must show before it is pushed: exact answers, no NaN, and its items found by their titles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from components.delta_index.config import DeltaConfig
from components.index_builder.build import query_vectors
from components.index_builder.catalog import EmbeddedCatalog
from evaluation.exact_search import exact_search
from schema import features
from souk_client.examples import search_example
from trainer.artifact import TrainedModel

_SCORE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class DeltaMeasurements:
    """What was measured of a delta index; shares of an index without items are 1.

    Attributes:
      index_recall: share of the exact top k that it answers with, which is 1 for an exact index.
      finite: whether every vector and every score of a hit is a number.
      found_share: of the sampled items, how many are among the hits of their own titles.
      sampled: how many items were searched for.
    """

    index_recall: float
    finite: bool
    found_share: float
    sampled: int

    def refusals(self, config: DeltaConfig) -> list[str]:
        """Why it must not be pushed; empty where it may."""
        found = []
        if not self.finite:
            found.append("a vector or a score is not a number")
        if self.index_recall < 1.0:
            found.append(f"the index answers with {self.index_recall:.1%} of the exact hits; it must be all")
        if self.found_share < config.min_found_share:
            found.append(
                f"{self.found_share:.1%} of {self.sampled} sampled items are found by their own titles; "
                f"`delta.min_found_share` asks for {config.min_found_share:.1%}"
            )
        return found


def measure_delta(
    directory: str, model: TrainedModel, catalog: EmbeddedCatalog | None, k: int, config: DeltaConfig
) -> DeltaMeasurements:
    """Measures the SavedModel in a folder, asked by its own signature.

    Args:
      directory: of the SavedModel.
      model: encodes the titles, as the full index does.
      catalog: the delta's items; None for none.
      k: hits of an answer.
      config: how many are sampled.
    """
    if catalog is None:
        return DeltaMeasurements(1.0, True, 1.0, 0)
    titles, ids = catalog.texts[features.TITLE], catalog.table.item_ids
    titled = np.flatnonzero([bool(title.strip()) for title in titles])
    rng = np.random.default_rng(config.seed)
    sample = np.sort(rng.permutation(titled)[: config.sample_items])
    queries = [titles[row].decode(errors="replace") for row in sample]
    vectors = query_vectors(model, [search_example(query) for query in queries])
    loaded = tf.saved_model.load(directory)
    ask = loaded.signatures[features.SIGNATURE_BY_VECTORS]
    hits, scores = _ask(ask, [search_example(query) for query in queries], vectors)
    found = [ids[row] in set(answer) for row, answer in zip(sample, hits, strict=True)]
    few = slice(0, config.sample_requests)
    dense = [search_example(query, retrieval=features.Retrieval.DENSE) for query in queries[few]]
    _, of_index = _ask(ask, dense, vectors[few])
    k = min(k, len(ids))
    _, exact = exact_search(vectors[few], catalog.vectors, k)
    right = of_index[:, :k] >= exact - _SCORE_TOLERANCE
    there = hits != b""
    return DeltaMeasurements(
        index_recall=float(right.mean()) if right.size else 1.0,
        finite=bool(np.isfinite(catalog.vectors).all() and np.isfinite(scores[there]).all()),
        found_share=float(np.mean(found)) if found else 1.0,
        sampled=len(sample),
    )


def _ask(ask: tf.types.experimental.ConcreteFunction, examples: Sequence[bytes], vectors: np.ndarray) -> tuple:
    answer = ask(examples=tf.constant(examples), vectors=tf.constant(vectors))
    return answer[features.OUTPUT_ITEM_IDS].numpy(), answer[features.OUTPUT_SCORES].numpy()

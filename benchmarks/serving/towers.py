"""Real towers for generated catalogs: a model trained on the simulated demo shop, and requests of its last day."""

from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import tensorflow as tf

from benchmarks.demo_shop import EXAMPLES, MODEL, run_demo
from components.index_builder.build import query_vectors, sample_requests
from components.index_builder.catalog import EmbeddedCatalog, SharedModel, embed_catalog, read_parts
from schema.features import CATALOG_SPLIT, EVAL_SPLIT
from trainer import artifact
from trainer.artifact import TrainedModel

DIM = 64
_SEED = 17


@dataclass(frozen=True)
class Towers:
    """A trained model, the catalog that it embedded, and requests of the day after its training.

    Attributes:
      model: one vector of `DIM` per request and item.
      catalog: the demo shop's.
      examples: serialized search examples.
      queries: [examples, DIM] float32, their vectors.
    """

    model: TrainedModel
    catalog: EmbeddedCatalog
    examples: list[bytes]
    queries: np.ndarray


def train_towers(folder: Path, requests: int, model: str) -> Towers:
    """Simulates, trains and embeds; what is in `folder` already is not done again."""
    settings = [f"train.model={model}", f"train.dim={DIM}", f"train.embedding_dim={DIM}", "train.heads=1"]
    examples, trained = run_demo(folder, settings, [EXAMPLES, MODEL])
    model_dir = str(trained / "Format-Serving")
    # By the run of the training: another one's vectors would be of another space than its queries.
    parts = folder / f"embedded-parts-{trained.name}"
    if not parts.exists():
        unfinished = parts.with_suffix(".unfinished")
        unfinished.mkdir(exist_ok=True)
        with beam.Pipeline() as pipeline:
            embed_catalog(pipeline, SharedModel(model_dir), f"{examples}/Split-{CATALOG_SPLIT}/*", str(unfinished))
        unfinished.rename(parts)
    loaded = artifact.load(model_dir)
    asked = sample_requests(f"{examples}/Split-{EVAL_SPLIT}/*", requests, _SEED)
    return Towers(loaded, read_parts(str(parts)), asked, query_vectors(loaded, asked).reshape(-1, DIM))


def grow(catalog: EmbeddedCatalog, items: int, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors scattered around those of a real catalog, so that real requests ask among them.

    Args:
      catalog: the items that become centers of clusters.
      items: how many vectors to make.
      noise: length of the random part, to a center's 1.

    Returns:
      Vectors [items, dim] float32, and the row of the catalog that each is scattered around.
    """
    rng = np.random.default_rng(_SEED)
    centers = catalog.vectors / np.linalg.norm(catalog.vectors, axis=1, keepdims=True)
    rows = rng.integers(len(centers), size=items)
    vectors = rng.standard_normal((items, centers.shape[1]), np.float32)
    vectors *= noise / centers.shape[1] ** 0.5
    vectors += centers[rows]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, rows


def exact_neighbors(vectors: np.ndarray, queries: np.ndarray, k: int, at_once: int = 32) -> np.ndarray:
    """Positions [queries, k] of the best by inner product, in no order, by brute force."""
    found = []
    for start in range(0, len(queries), at_once):
        scores = tf.matmul(queries[start : start + at_once], vectors, transpose_b=True)
        found.append(tf.math.top_k(scores, k, sorted=False).indices.numpy())
    return np.concatenate(found)

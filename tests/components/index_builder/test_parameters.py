import gc
import weakref

import numpy as np
import pytest
import scann  # noqa: F401  (its ops must be there before a SavedModel that holds them is loaded)
import tensorflow as tf
from scann import scann_ops

from components.index_builder.config import IndexConfig
from components.index_builder.parameters import choose_index, recall_against_exact, scan_grid, tree_grid
from components.index_builder.search_index import ExactIndex, ScannIndex
from components.index_builder.servable import SAVE_OPTIONS
from schema.settings import InputError


def clustered(items: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(40, dim))
    vectors = centers[rng.integers(0, 40, items)] + 0.5 * rng.normal(size=(items, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS, QUERIES = clustered(4000), clustered(64, seed=1)


@pytest.mark.parametrize(("kind", "items"), [("exact", 19_999), ("scan", 20_000), ("scan", 99_999), ("tree", 100_000)])
def test_the_kind_goes_by_the_size_of_the_catalog(kind, items):
    assert IndexConfig().kind_for(items) == kind


def test_a_kind_that_is_asked_for_is_taken():
    assert IndexConfig(kind="tree").kind_for(10) == "tree"


@pytest.mark.parametrize(("kind", "items"), [("exact", 49_999), ("inverted_file", 50_000), ("inverted_file", 10**7)])
def test_the_portable_kind_goes_by_the_size_of_the_catalog(kind, items):
    assert IndexConfig(backend="portable").kind_for(items) == kind


@pytest.mark.parametrize(("backend", "kind"), [("portable", "tree"), ("portable", "scan"), ("scann", "inverted_file")])
def test_a_kind_that_the_backend_lacks_is_refused(backend, kind):
    with pytest.raises(InputError, match=f"`kind: {kind}` is none of the indexes of `backend: {backend}`"):
        IndexConfig.parse({"backend": backend, "kind": kind})


@pytest.mark.parametrize(
    ("backend", "kind"), [("scann", "exact"), ("scann", "scan"), ("scann", "tree"), ("portable", "inverted_file")]
)
def test_the_chosen_index_reaches_the_wanted_recall(backend, kind):
    index, curve = choose_index(VECTORS, QUERIES, IndexConfig(k=20, backend=backend, kind=kind, wanted_recall=0.9))
    (chosen,) = [point for point in curve if point.chosen]
    assert chosen.name == kind
    assert chosen.recall >= 0.9
    exact = np.argsort(-(QUERIES @ VECTORS.T), axis=1)[:, :20]
    found, scores = index.search(tf.constant(QUERIES), 20)
    assert recall_against_exact(found.numpy(), exact) >= 0.9
    assert np.all(np.diff(scores.numpy(), axis=1) <= 1e-6)


def test_what_an_index_took_is_free_for_the_next_one(monkeypatch, request):
    searchers, create = [], scann_ops.create_searcher
    # As while a large index is built, which makes few Python objects.
    request.addfinalizer(gc.enable)
    gc.disable()

    def created(*arguments, **named):
        searchers.append(create(*arguments, **named))
        return searchers[-1]

    monkeypatch.setattr(scann_ops, "create_searcher", created)
    index = choose_index(VECTORS, QUERIES, IndexConfig(k=20, kind="scan"))[0]
    (searcher,) = searchers
    with pytest.raises(tf.errors.NotFoundError):
        searcher.search_batched(tf.constant(QUERIES))
    vectors = weakref.ref(index._state.dataset.handle)
    del index
    choose_index(VECTORS, QUERIES, IndexConfig(k=20, kind="exact"))
    assert vectors() is None


def test_places_that_searched_partitions_cannot_fill_are_empty():
    index = ScannIndex(VECTORS, {"leaves": 40, "leaves_to_search": 1, "reorder": len(VECTORS)}, 300)
    for query in QUERIES[:8]:
        positions, scores = (tensor.numpy()[0] for tensor in index.search(tf.constant(query[np.newaxis]), 300))
        hits = (positions >= 0).sum()
        assert 0 < hits < 300
        np.testing.assert_allclose(scores[:hits], VECTORS[positions[:hits]] @ query, rtol=1e-5, atol=1e-6)
        assert (positions[hits:] == -1).all()
        assert np.isneginf(scores[hits:]).all()


def test_of_good_enough_parameters_the_fastest_are_taken():
    _, curve = choose_index(VECTORS, QUERIES, IndexConfig(k=20, kind="scan", wanted_recall=0.5))
    good = [point for point in curve if point.name == "scan" and point.recall >= 0.5]
    (chosen,) = [point for point in curve if point.chosen]
    assert chosen.latency_ms == min(point.latency_ms for point in good)


def test_where_none_reach_the_wanted_recall_the_best_are_taken():
    _, curve = choose_index(VECTORS, QUERIES, IndexConfig(k=20, kind="scan", wanted_recall=1.0))
    scans = [point for point in curve if point.name == "scan"]
    (chosen,) = [point for point in curve if point.chosen]
    assert chosen.recall == max(point.recall for point in scans)


def test_a_catalog_too_small_to_quantize_is_searched_exactly():
    index, curve = choose_index(VECTORS[:50], QUERIES, IndexConfig(k=100, kind="scan"))
    assert isinstance(index, ExactIndex)
    assert [point.name for point in curve] == ["exact"]


@pytest.mark.parametrize(
    "parameters", [{"reorder": 200}, {"leaves": 50, "leaves_to_search": 20, "reorder": 200}], ids=["scan", "tree"]
)
def test_an_index_answers_alike_after_a_saved_model(tmp_path, parameters):
    class Holder(tf.Module):
        def __init__(self):
            super().__init__()
            self.index = ScannIndex(VECTORS, parameters, 20)

        @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32)])
        def search(self, vectors):
            return self.index.search(vectors, 20)

    holder = Holder()
    tf.saved_model.save(holder, str(tmp_path), options=SAVE_OPTIONS)
    loaded = tf.saved_model.load(str(tmp_path))
    for before, after in zip(holder.search(QUERIES), loaded.search(QUERIES), strict=True):
        np.testing.assert_array_equal(before, after)


def test_grids_stay_within_the_catalog():
    assert all(p["reorder"] <= 250 for p in scan_grid(100, 250))
    assert all(p["leaves_to_search"] <= p["leaves"] for p in tree_grid(100, 200_000))

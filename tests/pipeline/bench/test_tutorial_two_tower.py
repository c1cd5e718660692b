import numpy as np
import pytest
import tensorflow as tf

from pipeline.bench import tutorial_two_tower

ITEMS = [f"item-{n}" for n in range(60)]
# Every query has one item of its own; the last item is never clicked.
PAIRS = [(f"query {n}", f"item-{n}") for n in range(59) for _ in range(20)]


@pytest.fixture(scope="module")
def trained():
    return tutorial_two_tower.train(PAIRS, PAIRS[::20], ITEMS, 16, 64, 6, 6, 1, seed=3, learning_rates=(1e-6, 0.5))


def test_it_learns_a_querys_item_at_the_better_learning_rate(trained):
    assert trained.learning_rate == 0.5
    assert trained.tried[0.5] == max(trained.history["recall@1"]) > 0.9 > trained.tried[1e-6]


def test_the_export_answers_by_inner_product_and_unknowns_alike(trained, tmp_path):
    tutorial_two_tower.export(trained.model, ITEMS, 5, str(tmp_path / "model"))
    scores, ids = tf.saved_model.load(str(tmp_path / "model"))(tf.constant(["query 7", "never seen", "nor this"]))
    assert ids.numpy()[0, 0] == b"item-7"
    assert (ids.numpy()[1] == ids.numpy()[2]).all()
    rows = np.array([[ITEMS.index(item.decode()) for item in ids.numpy()[0]] + [-1, len(ITEMS)]])
    found = tutorial_two_tower.pair_scores(trained.model, ["query 7"], ITEMS, rows)
    np.testing.assert_allclose(found[0], [*scores.numpy()[0], 0.0, 0.0], rtol=1e-5)


def test_the_weights_are_those_of_the_best_epoch(trained):
    recall = tutorial_two_tower._BestEpoch(trained.model, PAIRS[::20], ITEMS, 1, len(PAIRS), 1)
    assert recall._recall() == trained.tried[0.5]

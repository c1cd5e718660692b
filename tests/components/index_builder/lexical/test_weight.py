"""What dense and lexical scores count is chosen on the requests that training has not seen."""

import numpy as np
import pytest
import tensorflow as tf

from components.index_builder.lexical.index import LexicalIndex
from components.index_builder.lexical.lexicon import MeasuredWeight
from components.index_builder.lexical.weight import (
    DEFAULT_DENSE_WEIGHT,
    best_weight,
    measure_weights,
    read_validation_requests,
)
from components.index_builder.search_index import ExactIndex
from evaluation.metrics import Relevant
from tests.components.index_builder.conftest import CONFIG, lexicon_of
from tests.small_shop import write_examples
from trainer.input import in_validation

ITEMS, K = 60, 10


def test_requests_are_held_out_and_led_to_a_known_item(tmp_path):
    rows = [
        {
            "request_id": [f"r{number}".encode()],
            "query": [f"query {number}".encode()],
            "items": [b"shown", b"b" if number % 2 else b"gone", b"a"],
            "stages": [1, 2, 3 if number % 3 else 1],
        }
        for number in range(200)
    ]
    write_examples(tmp_path / "a.gz", rows[:120])
    # Of a request without an id, nobody knows whether it was trained on.
    write_examples(tmp_path / "b.gz", [*rows[120:], {**rows[1], "request_id": []}])
    found = read_validation_requests(str(tmp_path / "*.gz"), 0.3, np.array([b"a", b"b", b"shown"]), seed=1)
    kept_out = in_validation(tf.constant([row["request_id"][0] for row in rows]), 0.3).numpy()
    expected = {}
    for number in np.flatnonzero(kept_out):
        items = [b"b"] * bool(number % 2) + [b"a"] * bool(number % 3)
        if items:
            expected[f"query {number}".encode()] = items
    assert dict(zip(found.queries, found.items, strict=True)) == expected
    assert 20 < len(expected) < 100
    relevant = found.relevant(np.array([b"a", b"aa", b"b"]))
    assert set(relevant.rows) == {0, 2}
    assert relevant.requests == len(expected)


@pytest.mark.parametrize("right", ["vectors", "words"])
def test_what_finds_the_clicked_items_gets_the_weight(right):
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(ITEMS, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lexical = LexicalIndex(
        lexicon_of([f"item n{number}".encode() for number in range(ITEMS)]).postings, CONFIG.lexical, True
    )
    clicked = rng.integers(0, ITEMS, 40)
    other = (clicked + 1) % ITEMS
    by_vector, by_words = (clicked, other) if right == "vectors" else (other, clicked)
    curve = measure_weights(
        ExactIndex(vectors),
        lexical,
        vectors[by_vector][:, np.newaxis],
        [f"n{number}".encode() for number in by_words],
        Relevant(np.arange(40), clicked, np.ones(40), 40),
        K,
        100,
        1.0,
    )
    assert [point.dense_weight for point in curve] == pytest.approx(np.linspace(0, 1, 21))
    ndcg = {point.dense_weight: point.ndcg for point in curve}
    assert ndcg[1.0] == pytest.approx(1.0 if right == "vectors" else curve[-1].ndcg)
    assert (best_weight(curve) > 0.5) == (right == "vectors")
    assert max(ndcg.values()) == pytest.approx(1.0)


def test_of_equally_good_weights_the_nearest_to_default_wins():
    measured = ((0.0, 0.70, 0.0), (0.2, 0.69, 0.02), (0.4, 0.66, 0.02), (0.5, 0.2, 0.02), (0.9, 0.695, 0.01))
    curve = [MeasuredWeight(weight, ndcg, 0.5, 0.70 - ndcg, error) for weight, ndcg, error in measured]
    assert best_weight(curve) == 0.2
    assert DEFAULT_DENSE_WEIGHT == 0.5

from collections import Counter

import numpy as np
import pytest

from evaluation import training_counts
from evaluation.eval_set import normalize_query, read_catalog
from evaluation.training_counts import read_training
from schema import features
from tests.evaluation import small_world as world


def test_training_counts_equal_a_count_by_hand(examples_dir):
    catalog = read_catalog(examples_dir)
    counts = read_training(examples_dir, catalog)
    clicks = np.zeros(world.ITEMS, int)
    for one in world.train_requests():
        for item, stage in zip(one.items, one.stages, strict=True):
            clicks[catalog.rows[item]] += stage >= 2
    assert counts.requests == world.TRAIN_REQUESTS
    assert counts.interactions.tolist() == clicks.tolist()
    assert sum(counts.queries.values()) == world.TRAIN_REQUESTS
    assert counts.window_ms == (world.START_MS, world.START_MS + (world.TRAIN_REQUESTS - 1) * 1000)


@pytest.mark.parametrize("pending", [1 << 20, 1])
def test_clicked_pairs_equal_a_count_by_hand(examples_dir, monkeypatch, pending):
    """Also where equal pairs are counted together again and again."""
    monkeypatch.setattr(training_counts, "_PENDING", pending)
    catalog = read_catalog(examples_dir)
    clicked = read_training(examples_dir, catalog).clicked
    expected = Counter(
        (normalize_query(one.query), catalog.rows[item])
        for one in world.train_requests()
        for item, stage in zip(one.items, one.stages, strict=True)
        if stage >= 2
    )
    pairs = zip(clicked.query.tolist(), clicked.rows.tolist(), clicked.clicks.tolist(), strict=True)
    assert {(clicked.queries[query], row): count for query, row, count in pairs} == expected
    assert len(clicked.query) == len(expected)
    assert (np.diff(clicked.query * len(catalog) + clicked.rows) > 0).all()


def test_queries_that_differ_in_case_and_blanks_are_one(tmp_path):
    world.write_split(tmp_path, features.CATALOG_SPLIT, [world.catalog_example(item) for item in range(3)])
    requests = [
        world.Request(str(n), "u", text, 1000, (), ("item-001", "gone"), (2, 2), (1, 2))
        for n, text in enumerate(["Red  Shoes", "red shoes "])
    ]
    world.write_split(tmp_path, features.TRAIN_SPLIT, [world.search_example(one) for one in requests])
    counts = read_training(tmp_path, read_catalog(tmp_path))
    assert counts.queries == {"red shoes": 2}
    assert (counts.clicked.queries, counts.clicked.clicks.tolist()) == (("red shoes",), [2])


def test_a_train_split_without_clicks_has_no_pairs(tmp_path):
    world.write_split(tmp_path, features.CATALOG_SPLIT, [world.catalog_example(0)])
    world.write_split(tmp_path, features.TRAIN_SPLIT, [])
    clicked = read_training(tmp_path, read_catalog(tmp_path)).clicked
    assert clicked.queries == ()
    assert clicked.query.tolist() == clicked.rows.tolist() == clicked.clicks.tolist() == []

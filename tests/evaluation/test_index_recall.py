import json
from pathlib import Path

import pytest
import tensorflow as tf

from components.example_gen.ingest import run_ingest
from evaluation.eval_set import parse_catalog, read_catalog, read_requests
from evaluation.evaluate import with_left_out
from evaluation.index_recall import indexed_rows
from evaluation.results import Sample
from pipeline.config import load
from tests.evaluation.small_world import bytes_feature, catalog_example

CASE = Path(__file__).parents[2] / ".." / "shared" / "cases" / "same_title_variants"


def chair(item_id, color):
    example = tf.train.Example.FromString(catalog_example(0))
    example.features.feature["item_id"].CopyFrom(bytes_feature([item_id]))
    example.features.feature["categorical_color"].CopyFrom(bytes_feature([color]))
    return example.SerializeToString()


def test_items_that_differ_in_a_further_column_are_not_one():
    """As the index builder sees it: of those that are alike in every column it keeps the first by id."""
    catalog = parse_catalog([[chair("c", "red"), chair("a", "green"), chair("b", "red")]])
    assert catalog.further == ("categorical_color",)
    assert indexed_rows(2, catalog).tolist() == [False, True, True]


def test_clicks_on_items_without_an_own_column_count_as_lost(tmp_path):
    if not CASE.is_dir():
        pytest.skip("the case is not at ../shared/cases/same_title_variants")
    run_ingest(load(str(CASE / "shop.yaml")).ingest, str(tmp_path / "out"))
    catalog = read_catalog(tmp_path / "out")
    requests = read_requests(tmp_path / "out", catalog, 10_000, 0, {2: 1.0, 3: 1.0})
    titles = [json.loads(line) for line in (CASE / "catalog.jsonl").read_text().splitlines()]
    first = {item["title"]: item["item_id"] for item in sorted(titles, key=lambda item: item["item_id"], reverse=True)}
    clicked = [catalog.item_ids[row] for row in requests.relevant.rows]
    sample = Sample(1, 1, 1, 1, len(clicked), len(catalog), 1, (0, 0), (0, 0))
    assert with_left_out(sample, requests, None).left_out == ""
    found = with_left_out(sample, requests, indexed_rows(6, catalog))
    lost = sum(item not in first.values() for item in clicked)
    assert (found.left_out_items, found.left_out_clicks) == (24, lost)
    assert "left 24 of 30 items out of the index" in found.left_out
    assert (
        f"Of the {len(clicked):,} clicked, carted and ordered items of the eval requests {lost:,} are" in found.left_out
    )

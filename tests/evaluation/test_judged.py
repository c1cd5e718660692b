from pathlib import Path

import numpy as np
import pytest

from components.example_gen.catalog_file import read_catalog_file
from evaluation.judged import evaluate_judgments, newest_version
from evaluation.judgments import Judgment, Judgments, read_judgments
from schema.settings import InputError
from tests.evaluation.word_servable import save_word_servable

ESCI = Path(__file__).parents[2] / ".." / "shared" / "data" / "esci150"
CATALOG = """{"item_id": "a", "title": "red running shoes", "brand": "Acme"}
{"item_id": "b", "title": "blue shoes"}
{"item_id": "c", "title": "desk lamp", "category": ["Home", "Lamps"]}
{"item_id": "d", "title": "red desk"}
{"item_id": "d", "title": "red desk again"}
{"item_id": "e"}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    (folder / "catalog.jsonl").write_text(CATALOG)
    found = read_catalog_file(str(folder / "catalog.jsonl"))
    servable = save_word_servable(folder / "versions" / "7", found.catalog.item_ids, found.catalog.titles, k=3)
    return found, servable


def judged(**by_query):
    return Judgments(
        {
            query.replace("_", " "): tuple(Judgment(item, gain, gain == 1.0) for item, gain in one.items())
            for query, one in by_query.items()
        },
        "E items",
    )


def test_the_catalog_gives_usable_items_and_counts_the_others(shop):
    found, _ = shop
    assert found.catalog.item_ids == ("a", "b", "c", "d")
    assert found.unusable_rows == 2
    assert found.catalog.texts()[2] == "desk lamp Home Lamps"


def test_recall_counts_right_items_and_ndcg_all_gains(shop):
    found, servable = shop
    result = evaluate_judgments(
        servable, found.catalog, judged(red_shoes={"a": 1.0, "b": 0.1}, lamp={"c": 1.0, "gone": 1.0}), [1, 4]
    )
    systems = {system.key: system.metrics for system in result.systems}
    # "red shoes": the item with both words is first. "lamp": one of two right items is in the catalog.
    assert systems["served"]["recall@1"].value == pytest.approx((1.0 + 0.5) / 2)
    assert systems["bm25"]["recall@1"].value == pytest.approx((1.0 + 0.5) / 2)
    best_lamp = 1 + 1 / np.log2(3)
    assert systems["bm25"]["ndcg@4"].value == pytest.approx((1.0 + 1 / best_lamp) / 2)
    assert (result.queries, result.right, result.right_missing) == (2, 3, 1)


def test_ks_beyond_the_answer_are_measured_by_exact_search_only(shop):
    found, servable = shop
    result = evaluate_judgments(servable, found.catalog, judged(red_desk={"d": 1.0, "c": 1.0}), [3, 4])
    systems = {system.key: system.metrics for system in result.systems}
    assert result.served_k == 3
    assert "recall@4" not in systems["served"]
    assert systems["exact"]["recall@4"].value == 1.0
    assert systems["exact"]["recall@3"] == systems["served"]["recall@3"]


def test_each_way_of_retrieval_is_a_row_and_the_default_marked(shop, tmp_path):
    found, _ = shop
    catalog = found.catalog
    servable = save_word_servable(tmp_path / "1", catalog.item_ids, catalog.titles, k=3, retrieval="hybrid")
    result = evaluate_judgments(servable, catalog, judged(lamp={"c": 1.0}), [1, 4])
    assert [(system.key, system.label, system.is_default) for system in result.systems] == [
        ("dense", "Dense", False),
        ("lexical", "Lexical", False),
        ("hybrid", "Hybrid (default)", True),
        ("exact", "Exact search", False),
        ("bm25", "BM25", False),
        ("fused", "Candidate + BM25", False),
    ]
    recall = {system.key: system.metrics["recall@1"].value for system in result.systems}
    assert recall == {"dense": 1.0, "lexical": 0.0, "hybrid": 1.0, "exact": 1.0, "bm25": 1.0, "fused": 1.0}


def test_hits_that_nobody_has_judged_are_removed_and_told(shop):
    """The red shoes and the red desk are found; only the latter is judged, beside what is not red."""
    found, servable = shop
    result = evaluate_judgments(servable, found.catalog, judged(red={"d": 1.0, "c": 0.0}), [1, 2])
    bm25 = next(system for system in result.systems if system.key == "bm25")
    assert (bm25.metrics["recall@2"].value, bm25.judged["judged@2"].value) == (1.0, 0.5)
    assert bm25.condensed["recall@1"].value == 1.0
    served = next(system for system in result.systems if system.key == "served")
    assert set(served.condensed) == set(served.metrics) == {"recall@1", "recall@2", "ndcg@1", "ndcg@2"}


def test_queries_without_a_right_item_are_left_out_and_counted(shop):
    found, servable = shop
    result = evaluate_judgments(servable, found.catalog, judged(lamp={"c": 1.0}, shoes={"a": 0.1}), [1])
    assert (result.queries, result.queries_without) == (1, 1)


def test_the_lead_over_bm25_is_paired(shop):
    found, servable = shop
    result = evaluate_judgments(servable, found.catalog, judged(lamp={"c": 1.0}, red_shoes={"a": 1.0}), [1])
    served = next(system for system in result.systems if system.key == "served")
    assert served.over_bm25["recall@1"].value == 0.0
    assert served.over_bm25["recall@1"].high == 0.0


def test_bad_ks_and_foreign_judgments_are_named(shop):
    found, servable = shop
    with pytest.raises(InputError, match="each k must be 1 or more"):
        evaluate_judgments(servable, found.catalog, judged(lamp={"c": 1.0}), [0, 10])
    with pytest.raises(InputError, match="none of the judged items is in the catalog"):
        evaluate_judgments(servable, found.catalog, judged(lamp={"x": 1.0}), [1])


def test_the_newest_version_is_the_highest_number(shop, tmp_path):
    _, servable = shop
    for name in ("6", "10", ".tmp-99", "notes"):
        (tmp_path / name).mkdir()
    for name in ("6", "10", ".tmp-99"):
        (tmp_path / name / "saved_model.pb").write_bytes((servable / "saved_model.pb").read_bytes())
    (tmp_path / "11").mkdir()
    assert newest_version(tmp_path) == tmp_path / "10"


def test_a_folder_without_versions_is_named(shop, tmp_path):
    _, servable = shop
    with pytest.raises(InputError, match=r"holds no version .*push one first"):
        newest_version(tmp_path)
    with pytest.raises(InputError, match=r"it is itself a version: give it with --servable"):
        newest_version(servable)
    with pytest.raises(InputError, match="there is no folder"):
        newest_version(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.jsonl", '{"id": "a", "title": "x"}\n', "has no column item_id"),
        ("c.csv", "item_id,price\na,1\n", "has no column title"),
        (
            "c.jsonl",
            '{"item_id": "", "title": "x"}\n',
            r"holds no usable item among its 1 rows\. 1 missing_item_id: item_id is empty",
        ),
        ("c.txt", "x", r"c\.txt"),
        ("c.jsonl", "", "is empty"),
    ],
)
def test_a_catalog_that_cannot_be_used_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_catalog_file(str(tmp_path / name))


@pytest.mark.skipif(not ESCI.is_dir(), reason="the ESCI-150 data is not at ../shared/data/esci150")
def test_bm25_reaches_its_known_recall_on_esci_150(tmp_path):
    """The figures of the data's README; a servable is needed to ask, its own figures are not the point here."""
    catalog = read_catalog_file(str(ESCI / "items.jsonl.gz")).catalog
    assert len(catalog) == 6764
    servable = save_word_servable(tmp_path / "1", catalog.item_ids, catalog.titles, k=50)
    judgments = read_judgments(ESCI / "judgments.jsonl.gz")
    result = evaluate_judgments(servable, catalog, judgments, [10, 50, 100, 200], bootstrap_samples=200)
    systems = {system.key: system.metrics for system in result.systems}
    assert (result.queries, result.right, result.right_missing) == (150, 3389, 0)
    for k, known in ((10, 0.265), (50, 0.786), (100, 0.865), (200, 0.899)):
        # Ties in score may be in another order.
        assert systems["bm25"][f"recall@{k}"].value == pytest.approx(known, abs=0.003)
    assert systems["exact"]["recall@50"] == systems["served"]["recall@50"]

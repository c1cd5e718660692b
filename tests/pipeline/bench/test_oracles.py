import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from marketplace.presets import preset, with_overrides
from marketplace.simulation import simulate
from pipeline.bench.oracles import Oracles
from pipeline.bench.variants import ORACLE_QUERY, ORACLE_RELEVANCE, ORACLE_TASTE, ORACLE_UTILITY, ORACLES
from schema.settings import InputError


def example(row):
    values = {name: row[name].encode() for name in ("request_id", "user_id")}
    features = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in values.items()}
    features["timestamp_ms"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[row["ms"]]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Folder, catalog and the requests of the last day of a simulated shop, as far as oracles look at them."""
    folder = tmp_path_factory.mktemp("shop") / "data"
    simulate(with_overrides(preset("tiny"), ["days=4", "searches=600"]), folder)
    rows = pl.read_ndjson(folder / "catalog.jsonl.gz")
    catalog = SimpleNamespace(item_ids=tuple(rows["item_id"]), titles=tuple(rows["title"]))
    events = pl.read_ndjson(max((folder / "events").iterdir()), infer_schema_length=None).unique("event_id")
    searches = events.filter(pl.col("event_type") == "search").sort("event_id")
    searches = searches.with_columns(ms=pl.col("timestamp").str.to_datetime(time_zone="UTC").dt.epoch("ms"))
    searches = searches.filter(pl.col("ms") >= pl.col("ms").max() - 80_000_000)
    examples = tuple(map(example, searches.iter_rows(named=True)))
    return folder, catalog, SimpleNamespace(examples=examples, queries=tuple(searches["query"]))


@pytest.fixture(scope="module")
def oracles(shop):
    folder, catalog, requests = shop
    return Oracles.read(folder / "shop.json", catalog, requests)


def test_oracles_rank_all_items_by_what_the_simulation_knows(oracles):
    chooser, requests = oracles.truth.chooser, oracles.requests
    shown = np.random.default_rng(0).integers(-1, len(oracles.items), (len(requests.user), 5))
    found = oracles.rank(shown, 7)
    assert set(found) == set(ORACLES)
    every = np.tile(oracles.items, (len(requests.user), 1))
    utility, met = chooser.utility(requests, every)
    for name, scores in ((ORACLE_UTILITY, utility), (ORACLE_RELEVANCE, met)):
        rows, on_page = found[name]
        best = -np.sort(-scores, axis=1)[:, :7]
        assert np.take_along_axis(scores, rows, axis=1) == pytest.approx(best), name
        there = shown >= 0
        assert on_page[there] == pytest.approx(np.take_along_axis(scores, np.maximum(shown, 0), axis=1)[there]), name


def test_the_query_is_as_good_as_the_need_where_it_means_one(oracles):
    requests = oracles.requests
    found = oracles.rank(np.tile(np.arange(len(oracles.items)), (len(requests.user), 1)), 7)
    single = [
        len(oracles.meanings.likely(query, user)[0]) == 1
        for query, user in zip(oracles.queries, requests.user, strict=True)
    ]
    by_query, by_need = found[ORACLE_QUERY][1], found[ORACLE_TASTE][1]
    assert by_query[single] == pytest.approx(by_need[single])
    assert np.abs(by_query - by_need)[~np.array(single)].max() > 0.1


def test_what_meets_half_of_a_need_is_good(oracles):
    requests = len(oracles.requests.user)
    rng = np.random.default_rng(1)
    rows = rng.integers(-1, len(oracles.items), (requests, 30))
    best, _ = oracles.rank(rows, 3)[ORACLE_RELEVANCE]
    rows[:, :3] = best
    rows[0] = -1
    # An item that the shop no longer has.
    rows[1, 5] = len(oracles.items)
    expected = []
    for request, items in enumerate(rows):
        items = items[items < len(oracles.items)]
        met = [oracles.truth.relevance(oracles.requests.intent[[request]], oracles.items[[[row]]]) for row in items]
        expected.append(np.mean([one[0, 0] >= 0.5 for one, row in zip(met, items, strict=True) if row >= 0] or np.nan))
    found = oracles.good_share(rows)
    assert found == pytest.approx(expected, nan_ok=True)
    assert np.isnan(found[0])
    assert 0 < np.nanmean(found) < 0.5


def test_a_shop_that_does_not_fit_the_log_gives_no_oracles(shop, tmp_path):
    folder, catalog, requests = shop
    facts = json.loads((folder / "shop.json").read_text())
    facts["settings"]["seed"] = 7
    (tmp_path / "shop.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"simulate|simulated"):
        Oracles.read(tmp_path / "shop.json", catalog, requests)
    renamed = SimpleNamespace(item_ids=catalog.item_ids, titles=("another", *catalog.titles[1:]))
    with pytest.raises(InputError, match="simulate the shop anew"):
        Oracles.read(folder / "shop.json", renamed, requests)

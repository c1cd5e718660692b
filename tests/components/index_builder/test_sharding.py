"""A shop in shards against the same shop in one piece."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components.index_builder.config import IndexConfig
from schema.servable_files import items_per_shard, read_shard_map, saved_models, shard_of
from schema.settings import InputError
from schema.shards import SHARD_MAP_FILE, ShardMap, push_directory, pushed_folders
from serving.config import ServingConfig
from serving.server.server import start
from souk_client.answers import Rows
from souk_client.examples import Behavior, search_example
from souk_client.filters import Filters
from souk_client.protocol import shard_models
from souk_client.sharded_client import ShardedClient
from tests.components.index_builder.conftest import SHARDS
from tests.small_shop import ALL_CATALOG, THINGS

# FarmHash's Fingerprint64, for whoever writes it anew in another language.
FINGERPRINTS = {
    "": 11160318154034397263,
    "a": 12917804110809363939,
    "1": 9304157803607034849,
    "12345": 16550883754376084728,
    "B07XYZ1234": 3035674604276258285,
    "red-kettle": 1378871860023554000,
    "crème 跑步鞋": 6227984010293217762,
    "x" * 100: 6590480085648050719,
}


@pytest.mark.parametrize("shards", [2, 3, 8, 1000])
def test_the_shard_of_an_item_is_what_the_written_vectors_say(shards):
    ids = np.array([text.encode() for text in FINGERPRINTS], dtype="S")
    assert shard_of(ids, shards).tolist() == [value % shards for value in FINGERPRINTS.values()]


@given(
    st.lists(st.binary(min_size=1, max_size=40).filter(lambda i: not i.endswith(b"\0")), min_size=1), st.integers(2, 9)
)
def test_no_item_moves_when_others_come_or_go(ids, shards):
    together = shard_of(np.array(ids), shards).tolist()
    assert together == [shard_of(np.array([one]), shards)[0] for one in ids]
    assert all(0 <= shard < shards for shard in together)


@pytest.fixture(scope="module")
def fan_out(sharded, tmp_path_factory) -> Iterator[ShardedClient]:
    """Of a server of all shards."""
    folder = tmp_path_factory.mktemp("served")
    for name, source in zip(shard_models("souk", SHARDS), saved_models(str(sharded.payload)), strict=True):
        (folder / name).mkdir()
        (folder / name / "1").symlink_to(source)
    server = start(ServingConfig(model_dir=str(folder / "souk"), shards=SHARDS, port=0, rest_port=-1))
    assert server.manager.wait_until_available(300)
    with ShardedClient([server.address], shards=SHARDS) as client:
        yield client
    server.stop(grace=1)


def test_every_item_is_of_one_shard_and_the_map_counts_them(built, sharded, fan_out):
    shard_map = read_shard_map(str(sharded.payload))
    assert shard_map.folders == ("shard-0-of-2", "shard-1-of-2")
    assert sum(shard_map.items) == built.summary.catalog_items
    assert sum(shard_map.indexed_items) == built.summary.indexed_items
    found = [{hit.item_id.encode() for hit in client.search("tent")} for client in fan_out._clients]
    assert [len(ids) for ids in found] == list(shard_map.indexed_items)
    for shard, ids in enumerate(found):
        assert set(shard_of(np.array(sorted(ids)), SHARDS).tolist()) == {shard}
    # The twin looks like another item, which may lie in another shard.
    assert set().union(*found) == {item["item_id"][0] for item in ALL_CATALOG}


def test_each_shard_is_a_servable_with_its_own_card_and_warm_up(sharded):
    from tensorflow_serving.apis import prediction_log_pb2

    shard_map = read_shard_map(str(sharded.payload))
    for shard, folder in enumerate(saved_models(str(sharded.payload))):
        card = json.loads((Path(folder) / "assets.extra" / "souk.json").read_text())
        assert (card["catalog_items"], card["indexed_items"]) == (
            shard_map.items[shard],
            shard_map.indexed_items[shard],
        )
        assert [point["name"] for point in card["index_curve"] if point["chosen"]] == ["exact"]
        recorded = tf.data.TFRecordDataset(f"{folder}/assets.extra/tf_serving_warmup_requests")
        logs = [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in recorded]
        assert {log.predict_log.request.model_spec.name for log in logs} == {f"souk-shard-{shard}-of-2"}


def test_a_servable_in_one_piece_has_no_map(built):
    assert not (Path(built.servable_dir) / SHARD_MAP_FILE).exists()
    assert saved_models(built.servable_dir) == [built.servable_dir]


def test_more_shards_than_items_can_fill_are_refused():
    assert items_per_shard(np.array([1, 0, 1]), 2) == (1, 2)
    with pytest.raises(InputError, match=r"`index.shards` is 4, but of 3 items none falls to shard 2: take fewer"):
        items_per_shard(np.array([1, 0, 3]), 4)


def requests() -> list[bytes]:
    """Queries with and without behavior, filters, exclusions and relevance control."""
    queries = [
        "red kettle",
        "tent",
        "green mug",
        "红色手机",
        "brand 1",
        "kite in blue",
        "nothing of this",
        "new york shoes",
    ]
    behaviors = [None, Behavior(long_term_orders=["red-kettle", "blue-tent"], history_queries=["kite"])]
    filters = [
        None,
        Filters(brands=("brand 1",)),
        Filters(categories=("Home > kettle", "Home > tent"), max_price=9.0),
        Filters(exclude=tuple(item["item_id"][0].decode() for item in ALL_CATALOG[3:20])),
        Filters(brands=("no such brand",)),
        Filters(categories=("Home > clock",), exclude=("red-clock",)),
    ]
    return [
        search_example(query, None, behavior, control, wanted)
        for query in queries
        for behavior in behaviors
        for wanted in filters
        for control in (None, True, False)
    ]


def test_the_merged_answers_are_those_of_the_shop_in_one_piece(built, fan_out):
    examples = requests()
    merged = fan_out.retrieve("serving_default", "examples", examples)
    assert_same(built.signatures["serving_default"](examples=tf.constant(examples)), merged)
    seen = {row.relevance_control for row in merged.rows}
    assert seen >= {"off", "nothing_named", "applied"}
    assert {len([i for i in row.ids if i]) for row in merged.rows} >= {0, len(ALL_CATALOG)}


def test_queries_alone_are_answered_as_by_the_shop_in_one_piece(built, fan_out):
    queries = [b"red kettle", "红色手机".encode(), b""]
    expected = built.signatures["query_text"](query=tf.constant(queries))
    assert_same(expected, fan_out.retrieve("query_text", "query", queries))


def test_a_shard_without_a_match_adds_nothing_to_the_others(fan_out):
    """Of what some query names some shard has nothing; alone it would answer with all that it has."""
    ids = [item["item_id"][0] for item in ALL_CATALOG]
    owners = dict(zip(ids, shard_of(np.array(ids), SHARDS).tolist(), strict=True))
    seen = []
    for thing in THINGS:
        for shard in range(SHARDS):
            own = tuple(i.decode() for i in ids if i.endswith(f"-{thing}".encode()) and owners[i] == shard)
            example = search_example(f"mauve {thing}", relevance_control=True, filters=Filters(exclude=own))
            request = ("serving_default", "examples", [example])
            alone = [client.retrieve(*request).rows[0] for client in fan_out._clients]
            if {row.relevance_control for row in alone} == {"applied", "fallback"}:
                merged = fan_out.retrieve(*request).rows[0]
                matched = {i for row in alone if row.relevance_control == "applied" for i in row.ids if i}
                assert {i for i in merged.ids if i} == matched
                assert merged.relevance_control == "applied"
                seen.append(thing)
    assert seen, "no query of the shop has a shard without a match, so nothing was tested"


def assert_same(whole: dict[str, tf.Tensor], merged: Rows) -> None:
    """Equal but for the order of items whose scores differ by rounding alone."""
    outputs = (whole[name].numpy().tolist() for name in ("item_ids", "scores", "relevance_control"))
    for ids, scores, control, row in zip(*outputs, merged.rows, strict=True):
        assert row.relevance_control == control.decode()
        np.testing.assert_allclose(row.scores, scores, atol=2e-6)
        assert sorted(row.ids) == sorted(ids)
        score = dict(zip(ids, scores, strict=True))
        for item_id, value in zip(row.ids, row.scores, strict=True):
            assert not item_id or value == pytest.approx(score[item_id], abs=2e-6)


@pytest.mark.parametrize(
    "text",
    [
        '{"items": [1], "indexed_items": [1], "folders": ["a"]}',
        '{"items": [1, 2], "indexed_items": [1, 2], "folders": ["a"]}',
        '{"hash": "md5", "items": [1, 2], "indexed_items": [1, 2], "folders": ["a", "b"]}',
        "{",
    ],
)
def test_what_is_no_shard_map_is_refused(tmp_path, text):
    (tmp_path / SHARD_MAP_FILE).write_text(text)
    with pytest.raises(InputError, match=SHARD_MAP_FILE):
        saved_models(str(tmp_path))


def test_a_shard_that_is_missing_is_named(tmp_path):
    shard_map = ShardMap(items=(1, 2), indexed_items=(1, 2), folders=("shard-0-of-2", "shard-1-of-2"))
    (tmp_path / SHARD_MAP_FILE).write_text(shard_map.to_json())
    (tmp_path / "shard-0-of-2").mkdir()
    (tmp_path / "shard-0-of-2" / "saved_model.pb").touch()
    with pytest.raises(InputError, match=r"shard-1-of-2 holds no `saved_model.pb`\. .*shards.json says that it should"):
        saved_models(str(tmp_path))


def test_names_of_models_and_folders_follow_from_the_shards():
    assert shard_models("souk", 1) == ["souk"]
    assert shard_models("/m/souk", 2) == ["/m/souk-shard-0-of-2", "/m/souk-shard-1-of-2"]
    assert (push_directory("/m/souk", 1), push_directory("/m/souk", 2)) == ("/m/souk", "/m/souk-in-2-shards")
    assert pushed_folders("/m/souk", 2, 7) == ("../../souk-shard-0-of-2/7", "../../souk-shard-1-of-2/7")


def test_one_shard_cannot_tell_that_all_have_too_few_hits():
    with pytest.raises(InputError, match="a shard sees its own hits alone"):
        IndexConfig.parse({"shards": 2, "relevance_control": {"min_hits": 2}})

"""UBI dumps, shaped as OpenSearch's tools write them."""

import json

import pytest

from components.example_gen.files import FileRange, cut_ranges, find_files
from components.example_gen.ubi import ACTIONS, read_events, read_queries, ubi_columns_of
from schema.settings import InputError

QUERY = {
    "query_id": "q1",
    "client_id": "c1",
    "user_query": "red shoes",
    "application": "shop",
    "timestamp": "2026-03-01T12:00:00.000Z",
    "query_response_id": "x",
    "query_response_hit_ids": ["i9", "i4"],
    "query_attributes": {"page": 1},
}
CLICK = {
    "application": "shop",
    "action_name": "click",
    "query_id": "q1",
    "session_id": "s1",
    "client_id": "c1",
    "timestamp": "2026-03-01T12:00:05.000Z",
    "message_type": None,
    "message": None,
    "event_attributes": {
        "object": {"object_id": "i4", "object_id_field": "asin"},
        "position": {"ordinal": 2},
        "session_id": "s1",
    },
}


def _plain(documents: list[dict]) -> list[dict]:
    return documents


def _bulk(documents: list[dict]) -> list[dict]:
    return [row for n, d in enumerate(documents) for row in ({"index": {"_index": "ubi", "_id": str(n)}}, d)]


def _created(documents: list[dict]) -> list[dict]:
    return [row for d in documents for row in ({"create": {"_index": "ubi"}}, d)]


def _hits(documents: list[dict]) -> list[dict]:
    return [{"_index": "ubi", "_id": str(n), "_score": 1, "_source": d} for n, d in enumerate(documents)]


shapes = pytest.mark.parametrize("shape", [_plain, _bulk, _created, _hits])


def _source(tmp_path, rows: list[dict]) -> FileRange:
    path = tmp_path / "dump.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (source,) = cut_ranges(find_files((str(path),), "events"))
    return source


@shapes
def test_a_query_becomes_a_search_and_an_impression_per_hit(tmp_path, shape) -> None:
    (block,) = read_queries(_source(tmp_path, shape([QUERY, QUERY | {"query_id": "q2", "query_response_hit_ids": []}])))
    assert block.rejects == []
    assert block.frame.drop("event_id", "timestamp").rows() == [
        ("q1", "c1", "search", "red shoes", None, None),
        ("q2", "c1", "search", "red shoes", None, None),
        ("q1", "c1", "impression", None, "i9", "1"),
        ("q1", "c1", "impression", None, "i4", "2"),
    ]
    assert block.frame["event_id"].n_unique() == 4


@shapes
def test_an_event_names_its_object_and_position(tmp_path, shape) -> None:
    numbered = CLICK | {
        "action_name": "purchase",
        "event_attributes": {"object": {"object_id": 4}, "position": {"ordinal": {"index": 7}}},
    }
    ((block, ignored),) = read_events(
        _source(tmp_path, shape([CLICK, numbered, CLICK | {"action_name": "login"}])), ACTIONS
    )
    assert (block.rejects, ignored) == ([], 1)
    assert block.frame.drop("event_id", "timestamp").rows() == [
        ("q1", "c1", "click", None, "i4", "2"),
        ("q1", "c1", "order", None, "4", "7"),
    ]


def test_a_repeated_delivery_has_the_same_event_id_whatever_its_document_id(tmp_path) -> None:
    other = CLICK | {"timestamp": "2026-03-01T12:00:06.000Z"}
    ((block, _),) = read_events(_source(tmp_path, _bulk([CLICK, CLICK, other])), ACTIONS)
    first, again, later = block.frame["event_id"]
    assert first == again != later


@pytest.mark.parametrize(
    ("action", "event_type"),
    [
        ("search", "search"),
        ("on_search", "search"),
        ("impression", "impression"),
        ("view", "impression"),
        ("click", "click"),
        ("click_through", "click"),
        ("add_to_cart", "add_to_cart"),
        ("purchase", "order"),
        ("order", "order"),
        ("tap", "click"),
    ],
)
def test_actions_are_mapped_with_the_shops_own_on_top(tmp_path, action: str, event_type: str) -> None:
    source = _source(tmp_path, [CLICK | {"action_name": action}])
    ((block, _),) = read_events(source, {**ACTIONS, "tap": "click"})
    assert block.frame["event_type"].to_list() == [event_type]


@shapes
def test_of_a_dump_that_holds_both_each_reader_takes_its_own(tmp_path, shape) -> None:
    source = _source(tmp_path, shape([QUERY, CLICK | {"user_query": "red shoes"}, QUERY | {"query_id": "q2"}]))
    (queries,) = read_queries(source)
    ((events, ignored),) = read_events(source, ACTIONS)
    assert queries.frame["event_type"].value_counts(sort=True).rows() == [("impression", 4), ("search", 2)]
    assert (events.frame["event_type"].to_list(), ignored) == (["click"], 0)


def test_an_event_without_attributes_or_of_another_shape_is_no_crash(tmp_path) -> None:
    rows = [{"action_name": "click", "timestamp": "x"}, CLICK | {"event_attributes": "none"}, CLICK]
    ((block, _),) = read_events(_source(tmp_path, rows), ACTIONS)
    assert len(block.frame) + len(block.rejects) == 3
    assert "i4" in block.frame["item_id"].to_list()


@shapes
def test_the_columns_are_those_of_the_documents(tmp_path, shape) -> None:
    assert {"action_name", "timestamp"} <= set(ubi_columns_of(_source(tmp_path, shape([CLICK])).file, 9999))


def test_a_dump_that_is_not_json_lines_is_an_error(tmp_path) -> None:
    (tmp_path / "dump.csv").write_text("a,b\n")
    (file,) = find_files((str(tmp_path / "dump.csv"),), "events")
    with pytest.raises(InputError, match="read from JSON lines or from BigQuery"):
        ubi_columns_of(file, 9999)

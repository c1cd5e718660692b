"""UBI dumps, shaped as OpenSearch's tools write them."""

import json
from typing import Any

import pytest

from components.example_gen.files import FileSplit, find_files, split_files
from components.example_gen.ubi import event_type_of, read_events, read_queries
from components.example_gen.ubi_documents import document_fields

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

FOUND = ("query_response_object_ids", "query_response_objects_ids", "query_response_hit_ids")


def plain(documents: list[dict]) -> list[dict]:
    return documents


def bulk(documents: list[dict]) -> list[dict]:
    return [row for n, d in enumerate(documents) for row in ({"index": {"_index": "ubi", "_id": str(n)}}, d)]


def created(documents: list[dict]) -> list[dict]:
    return [row for d in documents for row in ({"create": {"_index": "ubi"}}, d)]


def hits(documents: list[dict]) -> list[dict]:
    return [{"_index": "ubi", "_id": str(n), "_score": 1, "_source": d} for n, d in enumerate(documents)]


def answer(documents: list[dict]) -> list[dict]:
    """The answer of a search for all documents."""
    return [{"took": 3, "timed_out": False, "hits": {"total": {"value": 9}, "hits": hits(documents)}}]


shapes = pytest.mark.parametrize("shape", [plain, bulk, created, hits, answer])


def _source(tmp_path, rows: list[dict]) -> FileSplit:
    path = tmp_path / "dump.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (source,) = split_files(find_files((str(path),), "events"))
    return source


@shapes
def test_a_query_becomes_a_search_and_an_impression_per_hit(tmp_path, shape) -> None:
    (batch,) = read_queries(_source(tmp_path, shape([QUERY, QUERY | {"query_id": "q2", "query_response_hit_ids": []}])))
    assert batch.rejects == []
    assert batch.frame.drop("event_id", "timestamp", "client_id").rows() == [
        ("q1", "c1", "search", "red shoes", None, None),
        ("q2", "c1", "search", "red shoes", None, None),
        ("q1", "c1", "impression", None, "i9", "1"),
        ("q1", "c1", "impression", None, "i4", "2"),
    ]
    assert batch.frame["event_id"].n_unique() == 4


@shapes
def test_an_event_names_its_object_and_position(tmp_path, shape) -> None:
    numbered = CLICK | {
        "action_name": "purchase",
        "event_attributes": {"object": {"object_id": 4}, "position": {"ordinal": {"index": 7}}},
    }
    ((batch, counts),) = read_events(_source(tmp_path, shape([CLICK, numbered, CLICK | {"action_name": "login"}])), {})
    assert (batch.rejects, counts) == ([], {"click": 1, "purchase": 1, "login": 1})
    assert batch.frame.drop("event_id", "timestamp", "client_id").rows() == [
        ("q1", "c1", "click", None, "i4", "2"),
        ("q1", "c1", "order", None, "4", "7"),
    ]


def test_an_event_in_two_documents_has_one_event_id(tmp_path) -> None:
    other = CLICK | {"timestamp": "2026-03-01T12:00:06.000Z"}
    ((batch, _),) = read_events(_source(tmp_path, bulk([CLICK, CLICK, other])), {})
    first, again, later = batch.frame["event_id"]
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
        ("item_click", "click"),
        ("add_to_cart", "add_to_cart"),
        ("purchase", "order"),
        ("product_purchase", "order"),
        ("order", "order"),
        ("addToCart", "add_to_cart"),
        ("Add to cart", "add_to_cart"),
        ("RESULT-CLICK", "click"),
        ("tap", "click"),
        ("view_search_results", None),
        ("global_click", None),
        ("checkout", None),
        ("watch", "click"),
        ("onClick", "click"),
        ("", None),
    ],
)
def test_actions_are_mapped_with_the_shops_own_on_top(tmp_path, action: str, event_type: str | None) -> None:
    own = {"tap": "click"}
    assert event_type_of(action, own) == event_type
    ((batch, counts),) = read_events(_source(tmp_path, [CLICK | {"action_name": action}]), own)
    assert batch.frame["event_type"].to_list() == ([event_type] if event_type else [])
    assert counts == {action: 1}


def test_the_shops_own_event_type_wins_over_the_known_one(tmp_path) -> None:
    assert event_type_of("view", {"view": "click"}) == "click"


def _queries(tmp_path, *documents: dict) -> list[tuple[Any, ...]]:
    (batch,) = read_queries(_source(tmp_path, list(documents)))
    assert batch.rejects == []
    return batch.frame.select("request_id", "event_type", "query", "item_id", "position").rows()


def _searches(tmp_path, *changes: dict) -> list[str | None]:
    ((batch, _),) = read_events(_source(tmp_path, [CLICK | {"action_name": "on_search"} | c for c in changes]), {})
    return batch.frame["query"].to_list()


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize(
    "ids",
    [["i9", "i4"], '["i9", "i4"]', "['i9', 'i4']", "['i9' 'i4']", "i9,i4", "[i9, i4]", '{"i9",i4}'],
    ids=["list", "json", "python", "numpy", "commas", "java", "postgres"],
)
def test_ids_found_are_impressions_under_any_name(tmp_path, name: str, ids: object) -> None:
    document = {key: value for key, value in QUERY.items() if key != "query_response_hit_ids"} | {name: ids}
    assert _queries(tmp_path, document)[1:] == [
        ("q1", "impression", None, "i9", "1"),
        ("q1", "impression", None, "i4", "2"),
    ]


@pytest.mark.parametrize(("ids", "found"), [([9, 4], ["9", "4"]), ("i9", ["i9"]), ("0012", ["0012"]), ("[", [""])])
def test_ids_that_are_no_list_of_texts_are_read(tmp_path, ids: object, found: list[str]) -> None:
    rows = _queries(tmp_path, QUERY | {"query_response_hit_ids": ids}, QUERY | {"query_id": "q2"})
    assert [row[3] for row in rows if row[:2] == ("q1", "impression")] == found
    assert [row[3] for row in rows if row[:2] == ("q2", "impression")] == ["i9", "i4"]


def test_ids_of_objects_are_preferred_row_by_row(tmp_path) -> None:
    rows = _queries(
        tmp_path,
        QUERY | {"query_response_object_ids": ["i1"], "query_response_objects_ids": ["i2"]},
        QUERY | {"query_id": "q2", "query_response_object_ids": [], "query_response_objects_ids": ["i2"]},
        QUERY | {"query_id": "q3", "query_response_object_ids": None, "query_response_hit_ids": ["i3"]},
        QUERY | {"query_id": "q4", "query_response_object_ids": "", "query_response_hit_ids": None},
    )
    assert [row[3] for row in rows if row[1] == "impression"] == ["i1", "i2", "i3"]


@pytest.mark.parametrize("text", [None, "", " "])
def test_a_query_document_without_text_says_so(tmp_path, text: str | None) -> None:
    assert _queries(tmp_path, QUERY | {"user_query": text})[0] == ("q1", "search", "", None, None)


def test_a_search_has_its_text_in_the_message(tmp_path) -> None:
    assert _searches(
        tmp_path,
        {"message_type": "QUERY", "message": "red shoes"},
        {"message_type": "query", "message": "hat"},
        {"message_type": None, "message": "lamp"},
        {"message_type": "", "message": "chair"},
        {"message_type": "QUERY", "message": "red shoes", "user_query": "red shoe"},
    ) == ["red shoes", "hat", "lamp", "chair", "red shoe"]


def test_a_search_without_text_is_no_text(tmp_path) -> None:
    assert _searches(
        tmp_path,
        {"message_type": "INFO", "message": "the user searched"},
        {"message_type": "QUERY", "message": " "},
        {"message_type": "QUERY", "message": None, "user_query": ""},
    ) == [None, None, None]


def test_the_message_of_a_click_is_no_query(tmp_path) -> None:
    assert _searches(tmp_path, {"action_name": "click", "message_type": "QUERY", "message": "Red Shoe (i4)"}) == [None]


@shapes
def test_of_a_dump_that_holds_both_each_reader_takes_its_own(tmp_path, shape) -> None:
    browse = QUERY | {"query_id": "q2", "user_query": None}
    source = _source(tmp_path, shape([QUERY, CLICK | {"user_query": "red shoes"}, browse]))
    (queries,) = read_queries(source)
    ((events, counts),) = read_events(source, {})
    assert queries.frame["event_type"].value_counts(sort=True).rows() == [("impression", 4), ("search", 2)]
    assert (events.frame["event_type"].to_list(), counts) == (["click"], {"click": 1})


def test_an_event_with_no_or_odd_attributes_does_not_crash(tmp_path) -> None:
    rows = [{"action_name": "click", "timestamp": "x"}, CLICK | {"event_attributes": "none"}, CLICK]
    ((batch, _),) = read_events(_source(tmp_path, rows), {})
    assert len(batch.frame) + len(batch.rejects) == 3
    assert "i4" in batch.frame["item_id"].to_list()


@shapes
def test_the_columns_are_those_of_the_documents(tmp_path, shape) -> None:
    assert {"action_name", "timestamp"} <= set(document_fields(_source(tmp_path, shape([CLICK])).file, 9999))


def test_ordinals_are_read_as_they_are_logged(tmp_path) -> None:
    ordinals = [0, {"index": 6}, "3", None, -1]
    rows = [CLICK | {"event_attributes": {"object": {"object_id": 4}, "position": {"ordinal": o}}} for o in ordinals]
    ((batch, _),) = read_events(_source(tmp_path, rows), {})
    assert batch.frame["position"].to_list() == ["0", "6", "3", None, None]


ODD = [
    {"event_attributes": json.dumps(CLICK["event_attributes"])},
    {"event_attributes": str(CLICK["event_attributes"])},
    {"event_attributes": CLICK["event_attributes"] | {"object": {"key_value": "i4"}}},
    {"event_attributes": {"object": {"object_id": "i4", "position": {"ordinal": 2}}, "position": None}},
    {"event_attributes": {"object": {"object_id": "i4"}, "rank": 2, "position": [1, 2]}},
    {"event_attributes": {"object_id": "i4", "rank": 2}},
    {"event_attributes": None, "object_id": "i4", "rank": 2},
]


@pytest.mark.parametrize("odd", ODD)
@shapes
def test_items_and_positions_are_found_wherever_they_are(tmp_path, shape, odd: dict) -> None:
    strange = {"action_name": "hover", "event_attributes": ["\ud83d\ude00"]}
    ((batch, counts),) = read_events(_source(tmp_path, shape([CLICK | odd, CLICK | strange, CLICK])), {})
    assert (batch.rejects, counts) == ([], {"click": 2, "hover": 1})
    assert batch.frame.select("item_id", "position").rows() == [("i4", "2")] * 2


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({}, "c1"),
        ({"user_id": "u1"}, "u1"),
        ({"user_id": ""}, "c1"),
        ({"user_id": "NULL"}, "c1"),
        ({"user_id": "\\N"}, "c1"),
        ({"event_attributes": CLICK["event_attributes"] | {"user_id": "u2"}}, "u2"),
        ({"client_id": None, "user_id": "u1"}, "u1"),
    ],
)
def test_the_user_is_the_one_who_is_named(tmp_path, fields: dict, user: str) -> None:
    source = _source(tmp_path, [CLICK | fields])
    ((batch, _),) = read_events(source, {})
    assert batch.frame["user_id"].to_list() == [user]
    ((batch, _),) = read_events(source, {}, "client_id")
    assert batch.frame["user_id"].to_list() == [fields.get("client_id", "c1")]


def test_a_query_may_name_its_user_among_its_attributes(tmp_path) -> None:
    documents = [QUERY, QUERY | {"query_attributes": {"user_id": "u1"}}, QUERY | {"user_id": "u2"}]
    (batch,) = read_queries(_source(tmp_path, documents))
    assert batch.frame["user_id"].to_list()[:3] == ["c1", "u1", "u2"]
    assert set(batch.frame["client_id"]) == {"c1"}


def test_half_a_character_is_no_text(tmp_path) -> None:
    path = tmp_path / "dump.ndjson"
    rows = [json.dumps(CLICK | {"query_id": query}) for query in ("\ud83d", "a\ud83d\ude00")]
    path.write_text("".join(row + "\n" for row in rows))
    (source,) = split_files(find_files((str(path),), "events"))
    ((batch, _),) = read_events(source, {})
    assert batch.frame["request_id"].to_list() == ["a\U0001f600"]
    assert [reason for reason, _ in batch.rejects] == ["not_json"]

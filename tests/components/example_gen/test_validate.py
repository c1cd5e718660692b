import polars as pl
import pytest

from components.example_gen.columns import EVENT_COLUMNS, EVENTS
from components.example_gen.validate import validate_events

GOOD = {
    "event_id": "e1",
    "timestamp": "2026-03-01T00:00:00Z",
    "request_id": "r1",
    "user_id": "u1",
    "event_type": "click",
    "query": None,
    "item_id": "i1",
    "position": "3",
}
SEARCH = GOOD | {"event_type": "search", "query": "red shoes", "item_id": None, "position": None}


def _validate(*rows: dict, max_query_characters: int = 512) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    raw = pl.DataFrame(
        [[row.get(name) for name in EVENT_COLUMNS] for row in rows],
        schema=dict.fromkeys(EVENT_COLUMNS, pl.String),
        orient="row",
    )
    return validate_events(raw, 7, max_query_characters)


def test_good_rows_become_typed_and_keep_their_files_number() -> None:
    good, bad, cut = _validate(GOOD, SEARCH)
    assert good.schema == EVENTS
    assert good.row(0) == ("e1", 1_772_323_200_000, "r1", "u1", 2, None, "i1", 3, 7)
    assert good.row(1) == ("e1", 1_772_323_200_000, "r1", "u1", 0, "red shoes", None, None, 7)
    assert bad.is_empty()
    assert cut == 0


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (GOOD | {"event_id": " "}, "missing_event_id"),
        (GOOD | {"timestamp": "yesterday"}, "bad_timestamp"),
        (GOOD | {"timestamp": None}, "bad_timestamp"),
        (GOOD | {"timestamp": "1772323200"}, "timestamp_in_seconds"),
        (GOOD | {"timestamp": "2426-03-01T00:00:00Z"}, "timestamp_out_of_range"),
        (GOOD | {"event_type": "hover"}, "unknown_event_type"),
        (GOOD | {"event_type": None}, "unknown_event_type"),
        (SEARCH | {"request_id": None}, "missing_request_id"),
        (GOOD | {"event_type": "impression", "request_id": ""}, "missing_request_id"),
        (GOOD | {"user_id": "", "request_id": None}, "missing_user_and_request"),
        (GOOD | {"item_id": "  "}, "missing_item_id"),
        (SEARCH | {"query": ""}, "empty_query"),
        (SEARCH | {"query": " \t "}, "empty_query"),
        (SEARCH | {"query": None}, "empty_query"),
        (GOOD | {"position": "first"}, "bad_position"),
        (GOOD | {"position": "-1"}, "bad_position"),
        (GOOD | {"position": "1.5"}, "bad_position"),
    ],
)
def test_an_unusable_row_comes_back_as_it_was_with_its_reason(row: dict, reason: str) -> None:
    good, bad, _ = _validate(GOOD, row, SEARCH)
    assert len(good) == 2
    assert bad.to_dicts() == [row | {"reason": reason}]


def test_a_query_of_ten_thousand_characters_is_cut_and_counted() -> None:
    good, _, cut = _validate(SEARCH | {"query": "鞋" * 10_000}, SEARCH, max_query_characters=512)
    assert good["query"].to_list() == ["鞋" * 512, "red shoes"]
    assert cut == 1


def test_space_around_text_is_no_part_of_it() -> None:
    good, _, _ = _validate(GOOD | {"event_id": " e1 ", "item_id": "i1\n", "position": "4.0"})
    assert good.select("event_id", "item_id", "position").row(0) == ("e1", "i1", 4)


def test_where_no_query_is_needed_none_and_empty_stay_apart() -> None:
    rows = [SEARCH | {"query": query} for query in (None, " ", " red shoes ")]
    raw = pl.DataFrame(rows, schema=dict.fromkeys(EVENT_COLUMNS, pl.String))
    good, bad, _ = validate_events(raw, 7, 512, needs_query=False)
    assert good["query"].to_list() == [None, "", "red shoes"]
    assert bad.is_empty()


def test_positions_may_be_written_with_a_point() -> None:
    good, _, _ = _validate(*(GOOD | {"position": text} for text in ("3", "3.0", "3.00", " 4 ")))
    assert good["position"].to_list() == [3, 3, 3, 4]

import json
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.values import (
    UNKNOWN_IDS,
    UNKNOWN_NAMES,
    UNKNOWN_QUERIES,
    UNREADABLE,
    exact_numbers,
    ids,
    known,
    value_text,
    without_nan,
    written_value,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet="aN\"'[]{}, \\é鞋", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("22.0", "22"),
        ("-5.00", "-5"),
        ("4006381333953.0", "4006381333953"),
        ("4.006381333953E12", "4006381333953"),
        ("4.006381333953e+12", "4006381333953"),
        ("1.0E7", "10000000"),
        ("22.5", "22.5"),
        ("007.0", "007.0"),
        ("1E5", "1E5"),
        ("v2.0", "v2.0"),
        ("22", "22"),
        ("NULL", None),
        ("None", None),
        ("\\N", None),
        ("undefined", None),
        ("Null-7", "Null-7"),
        (None, None),
    ],
)
def test_ids_that_were_made_floats_are_whole_numbers(text: str | None, expected: str | None) -> None:
    found, rounded = ids(pl.Series([text, "x"], dtype=pl.String))
    assert (found.to_list(), rounded) == ([expected, "x"], None)


@pytest.mark.parametrize("text", ["4.00638E+12", "4E+12", "1152921504606846976.0", "9.1234567890123456e+17"])
def test_ids_that_have_lost_digits_are_told(text: str) -> None:
    found, rounded = ids(pl.Series(["1.0", text]))
    assert found.to_list() == ["1", text]
    assert rounded is not None
    assert rounded.to_list() == [False, True]


@given(st.lists(st.one_of(st.none(), st.integers(0, 2**53 - 1)), min_size=1))
@settings(deadline=None)
def test_any_whole_number_survives_being_a_float(numbers: list[int | None]) -> None:
    for written in (float, lambda n: pl.Series([float(n)]).cast(pl.String)[0]):
        texts = [None if n is None else str(written(n)) for n in numbers]
        found, rounded = ids(pl.Series(texts, dtype=pl.String))
        assert found.to_list() == [None if n is None else str(n) for n in numbers]
        assert rounded is None


def test_a_text_that_may_be_meant_is_not_unknown() -> None:
    for text in ("Null", "None", "none", "NA", "N/A"):
        assert known(pl.Series([text]), UNKNOWN_NAMES).to_list() == [text]
    assert known(pl.Series(["nan", "null", "NaN"]), UNKNOWN_QUERIES).to_list() == ["nan", "null", None]
    assert set(UNKNOWN_QUERIES) < set(UNKNOWN_NAMES) < set(UNKNOWN_IDS)


@given(PLAIN)
@settings(deadline=None)
def test_lists_and_objects_printed_by_json_or_python_are_read(value: object) -> None:
    if isinstance(value, list | dict):
        assert written_value(json.dumps(value)) == value
        if isinstance(value, list) or any(value):
            assert written_value(str(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("['A' 'B C']", ["A", "B C"]),
        ("['A'\n \"B's\"]", ["A", "B's"]),
        ("('A', 'B')", ["A", "B"]),
        ("{'a': ['b']}", {"a": ["b"]}),
        ("[new] shoe", "[new] shoe"),
        ("{odd}", "{odd}"),
        ("['open", "['open"),
        ("(new) 'shoe'", "(new) 'shoe'"),
        ("[array(['A'], dtype=object)]", UNREADABLE),
        ('{1,"Home"}', UNREADABLE),
        ("[" * 20_000 + "''" + "]" * 20_000, UNREADABLE),
    ],
)
def test_what_programs_print_is_told_from_texts_in_brackets(text: str, value: object) -> None:
    assert written_value(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.0, "12"),
        (2.5, "2.5"),
        (True, "true"),
        ({"name": "A", "id": 1}, "A"),
        ({"name": "A", "in": [1]}, None),
        ([], None),
    ],
)
def test_a_member_of_a_list_has_a_text_or_none(value: object, text: str | None) -> None:
    assert value_text(value) == text


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "NaN", '"Infinity']), st.floats() | st.text(alphabet='N:aN,"\\ ')),
        max_size=4,
    )
)
@settings(deadline=None)
def test_nan_becomes_null_and_texts_stay(rows: list[dict[str, float | str]]) -> None:
    rows.append({"a": "x NaN, -Infinity", "b": math.nan})
    lines = "\n".join(map(json.dumps, rows)).encode()
    expected = [
        {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
        for row in rows
    ]
    assert [json.loads(line) for line in without_nan(lines).splitlines()] == expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(['a "1e+20" ', "e+", "\\"])))
def test_numbers_that_lost_digits_become_texts(values: list[float | str]) -> None:
    read = json.loads(exact_numbers(json.dumps(values).encode()))
    assert [float(one) if isinstance(value, float) else one for value, one in zip(values, read, strict=True)] == values
    assert [isinstance(one, str) for one in read] == [isinstance(v, str) or "e+" in repr(v) for v in values]


def test_rounded_ids_of_json_are_told() -> None:
    texts = json.loads(exact_numbers(b"[1.2345678901234567e+18, 1E+20, 2.2e+1]"))
    found, rounded = ids(pl.Series(texts))
    assert found[2] == "22"
    assert rounded is not None
    assert rounded.to_list() == [True, True, False]

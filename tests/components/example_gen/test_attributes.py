"""The further columns of the catalog, against what plain Python makes of each value."""

import html
import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen.attributes import attributes, value_lists
from components.example_gen.config import CatalogColumns

WORDS = st.sampled_from(
    ["", " ", "red", " deep red ", "[new] shoe", "{odd}", "rot\ngrün", "5 < 6", "5", "鞋 子", "a,b"]
)
VALUES = st.one_of(st.none(), WORDS, st.lists(st.one_of(st.none(), WORDS, st.integers(0, 9)), max_size=4))
CUT = 6


def _written(value: Any) -> str | None:
    """As a JSONL reader gives the value of a row."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _parts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for part in values if part is not None and (text := str(part).strip())]


def _text(value: Any) -> str | None:
    return "\n".join(_parts(value))[:CUT].strip() or None


def _further(raw: pl.DataFrame, most: int = 10_000, **kinds: list[str]) -> tuple[dict[str, list[Any]], dict[str, int]]:
    found, counters = attributes(raw, CatalogColumns(**kinds), most)
    return found.to_dict(as_series=False), counters


@given(st.lists(VALUES, min_size=1, max_size=12), st.booleans())
@settings(deadline=None)
def test_texts_and_values_are_those_of_plain_python(values: list[Any], as_lists: bool) -> None:
    if as_lists:
        raw = pl.DataFrame({"c": [_parts(value) for value in values]}, schema={"c": pl.List(pl.String)})
    else:
        raw = pl.DataFrame({"c": list(map(_written, values))}, schema={"c": pl.String})
    found, counters = _further(raw, CUT, text=["c"], categorical=["c"])
    assert found["text_c"] == list(map(_text, values))
    assert found["categorical_c"] == [list(dict.fromkeys(_parts(value))) for value in values]
    expected = {
        "text_c.items": sum(_text(value) is not None for value in values),
        "text_c.cut": sum(len("\n".join(_parts(value))) > CUT for value in values),
        "categorical_c.items": sum(bool(_parts(value)) for value in values),
    }
    assert counters == {name: count for name, count in expected.items() if count}


@given(st.lists(st.one_of(st.none(), st.floats(width=32), st.sampled_from(["", "4 stars", "1e99", " 3 "])), min_size=1))
@settings(deadline=None)
def test_a_number_is_finite_or_absent_and_counted(values: list[Any]) -> None:
    texts = [value if value is None else str(value) for value in values]

    def number(text: str | None) -> float | None:
        try:
            return float(np.float32(float(text or "")))
        except ValueError:
            return None

    with np.errstate(over="ignore"):
        read = [number(text) for text in texts]
    expected = [value if value is not None and math.isfinite(value) else None for value in read]
    found, counters = _further(pl.DataFrame({"c": texts}, schema={"c": pl.String}), numeric=["c"])
    assert found["numeric_c"] == expected
    there = sum((text or "").strip() not in ("", "nan", "inf", "-inf") for text in texts)
    assert counters.get("numeric_c.not_a_number", 0) == there - sum(value is not None for value in expected)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('["a", ["b", "a"]]', ["a", "b"]),
        ("['it''s', 'b']", ["its", "b"]),
        ("[1, 2.5, true, null]", ["1", "2.5", "true"]),
        ("[sale] shoes", ["[sale] shoes"]),
        ("['open", ["['open"]),
        ("{red}", ["{red}"]),
        ("[]", []),
        ('""', ['""']),
    ],
)
def test_a_list_is_written_as_json_or_as_python_does(text: str, values: list[str]) -> None:
    lists, objects = value_lists(pl.Series([text, None]))
    assert (lists.to_list(), objects) == ([values, []], 0)


def test_objects_are_counted_and_their_items_kept() -> None:
    raw = pl.DataFrame({"c": ['{"en": "Soft"}', '["a", {"id": 1}]', "plain"]})
    found, counters = _further(raw, text=["c"], categorical=["c"])
    assert found == {"text_c": [None, "a", "plain"], "categorical_c": [[], ["a"], ["plain"]]}
    assert (counters["text_c.objects"], counters["categorical_c.objects"]) == (2, 2)


def test_a_list_is_no_number() -> None:
    found, counters = _further(pl.DataFrame({"c": [["1"], [], None]}, schema={"c": pl.List(pl.String)}), numeric=["c"])
    assert (found, counters) == ({"numeric_c": [None, None, None]}, {"numeric_c.not_a_number": 1})


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<p>Soft &amp; warm.</p><p>Wa<b>ter</b>proof</p>", "Soft & warm.\nWaterproof"),
        ("<ul>\n<li>One</li> <li class='x'>Two</li></ul>", "One\nTwo"),
        ("a<br/>b<BR>c", "a\nb\nc"),
        ("&lt;p&gt;escaped once more&lt;/p&gt;", "escaped once more"),
        ("<style>p { color: red }</style>Red <!-- not <b>this</b> -->shoe", "Red shoe"),
        ("under 5 < 6 kg, A&B", "under 5 < 6 kg, A&B"),
        ("<div></div>", None),
    ],
)
def test_html_becomes_the_text_that_a_browser_shows(text: str, plain: str | None) -> None:
    assert _further(pl.DataFrame({"c": [text, "5 & 6"]}), text=["c"])[0] == {"text_c": [plain, "5 & 6"]}


@given(st.text(alphabet="abc <>&;/p\n", max_size=40))
@settings(deadline=None)
def test_a_text_without_tags_and_entities_keeps_its_words(text: str) -> None:
    if html.unescape(text) == text and not any(f"<{c}" in text for c in "abcp/"):
        (found,) = _further(pl.DataFrame({"c": [text]}), text=["c"])[0]["text_c"]
        assert (found or "").split() == text.split()

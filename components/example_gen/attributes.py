"""Further columns of the catalog, as `catalog_columns` names them: texts, categorical values and numbers of items.

They are optional: what cannot be used of a value is counted, and its item is kept without it.
"""

import html
from typing import Any, Final

import numpy as np
import polars as pl
from polars.exceptions import ComputeError

from components.example_gen.config import CatalogColumns
from schema import features
from schema.values import UNKNOWN_NAMES, UNKNOWN_NUMBERS, UNREADABLE, known, numbers, value_text, written_value

# Counters of a feature are named `catalog.<feature>.<one of these>`; the first counts what is there.
ITEMS: Final = "items"
CUT: Final = "cut"
OBJECTS: Final = "objects"
NOT_A_NUMBER: Final = "not_a_number"

_VALUES: Final = pl.List(pl.String())
_MARKUP: Final = r"<[a-zA-Z/!]|&#?[a-zA-Z0-9]+;"
_INVISIBLE: Final = r"(?is)<script\b.*?</script\s*>|<style\b.*?</style\s*>|<!--.*?-->"
# Where a browser begins a new line. Other tags, such as <b>, are within words.
_BLOCK: Final = (
    r"(?i)</?(?:p|br|hr|div|h[1-6]|li|ul|ol|dl|dt|dd|tr|td|th|table|tbody|thead|section|article|blockquote|pre)"
    r"(?:[\s/][^<>]*)?>"
)
_TAG: Final = r"</?[a-zA-Z][^<>]*>"


def attributes(
    raw: pl.DataFrame, columns: CatalogColumns, max_text_characters: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The features of the further columns, and the counters of each.

    Args:
      raw: has each of `columns` as text, or as lists of text.
      columns: which, and what they hold.
      max_text_characters: longer texts are cut.

    Returns:
      Columns named as the features: text, distinct values in the order of the row, float32; and counters
      `<feature>.<what>` of the rows that have a value, of cut texts, of objects where a value is wanted, and of numbers
      that are none.
    """
    found: list[pl.Series] = []
    counters: dict[str, int] = {}
    for name in columns.text:
        feature = features.text_feature(name)
        texts, objects = _texts(raw[name])
        cut = int((texts.str.len_chars() > max_text_characters).sum())
        if cut:
            texts = texts.str.slice(0, max_text_characters).str.strip_chars()
        found.append(texts.alias(feature))
        counters |= {f"{feature}.{ITEMS}": texts.count(), f"{feature}.{CUT}": cut, f"{feature}.{OBJECTS}": objects}
    for name in columns.categorical:
        feature = features.categorical_feature(name)
        values, objects = value_lists(raw[name])
        found.append(values.alias(feature))
        counters |= {f"{feature}.{ITEMS}": int((values.list.len() > 0).sum()), f"{feature}.{OBJECTS}": objects}
    for name in columns.numeric:
        feature = features.numeric_feature(name)
        values, wrong = _numbers(raw[name])
        found.append(values.alias(feature))
        counters |= {f"{feature}.{ITEMS}": values.count(), f"{feature}.{NOT_A_NUMBER}": wrong}
    return pl.DataFrame(found), {name: count for name, count in counters.items() if count}


def value_lists(column: pl.Series) -> tuple[pl.Series, int]:
    """Distinct values that are known, in their order, and how many rows have an object among them.

    Args:
      column: lists of text; or texts, each a value, or a list of values as JSON or Python writes it.
    """
    if column.dtype == _VALUES:
        return _clean(column), 0
    texts = column.str.strip_chars()
    lists = texts.to_frame("text").select(pl.concat_list("text"))["text"]
    written = _written_lists(texts)
    if not written.any():
        return _clean(lists), 0
    parsed, objects = _parse(texts.filter(written))
    places = np.arange(len(lists))
    places[written.to_numpy()] = len(lists) + np.arange(len(parsed))
    return _clean(pl.concat([lists, parsed]).gather(places)), objects


def _texts(column: pl.Series) -> tuple[pl.Series, int]:
    objects = 0
    if column.dtype == _VALUES:
        texts = _joined(column)
    else:
        texts = known(column.str.strip_chars(), UNKNOWN_NAMES)
        written = _written_lists(texts)
        if written.any():
            parsed, objects = _parse(texts.filter(written))
            texts = texts.scatter(written.arg_true(), _joined(parsed))
    marked = texts.str.contains(_MARKUP).fill_null(value=False)
    if marked.any():
        texts = texts.scatter(marked.arg_true(), _without_markup(texts.filter(marked)))
    return texts.replace("", None), objects


def _joined(lists: pl.Series) -> pl.Series:
    return _clean(lists, distinct=False).list.join(features.TEXT_SEPARATOR).replace("", None)


def _numbers(column: pl.Series) -> tuple[pl.Series, int]:
    if column.dtype == _VALUES:
        return pl.Series([None] * len(column), dtype=pl.Float32), int((column.list.len() > 0).sum())
    texts = known(column.str.strip_chars(), UNKNOWN_NUMBERS)
    found = numbers(texts)
    finite = found.is_finite().fill_null(value=False)
    return found.set(~finite, None), texts.count() - int(finite.sum())


def _clean(lists: pl.Series, distinct: bool = True) -> pl.Series:
    """Lists without unknown values; no list is an empty one."""
    text = pl.element().str.strip_chars()
    value = text.filter(~text.is_in(UNKNOWN_NAMES))
    values = lists.list.eval(value.unique(maintain_order=True) if distinct else value)
    return values.fill_null(pl.Series([[]], dtype=_VALUES)) if values.has_nulls() else values


def _written_lists(texts: pl.Series) -> pl.Series:
    return texts.str.contains(r"^[\[{(]").fill_null(value=False)


def _parse(texts: pl.Series) -> tuple[pl.Series, int]:
    """The lists that `texts` write, and how many of them hold an object."""
    try:
        return texts.str.json_decode(_VALUES), 0
    except ComputeError:
        parsed = [_flat(written_value(text)) for text in texts]
    values = [[value for value in row if value is not None] for row in parsed]
    return pl.Series(values, dtype=_VALUES), sum(None in row for row in parsed)


def _flat(value: Any) -> list[str | None]:
    """The values of a list, lists within it as one list; None for an object."""
    if isinstance(value, list | tuple):
        return [part for inner in value for part in _flat(inner)]
    if value is None:
        return []
    return [None if value is UNREADABLE else value_text(value)]


def _without_markup(texts: pl.Series) -> pl.Series:
    """Texts without HTML; what a browser shows on different lines stays on different lines."""
    # Feeds escape their HTML once more, so the tags come after the entities.
    return (
        pl.Series([html.unescape(text) for text in texts], dtype=pl.String)
        .str.replace_all(_INVISIBLE, " ")
        .str.replace_all(_BLOCK, "\n")
        .str.replace_all(_TAG, "")
        .str.replace_all(r"[^\S\n]+", " ")
        .str.replace_all(r" ?\n\s*", "\n")
        .str.strip_chars()
    )

"""Text columns of any format, cleaned: one value each, without spaces around it, null where it is unknown."""

from typing import Final

import orjson
import polars as pl
from polars.exceptions import PolarsError

from schema.settings import InputError
from schema.values import (
    FLOAT,
    UNKNOWN_IDS,
    UNKNOWN_NAMES,
    UNKNOWN_NUMBERS,
    UNKNOWN_QUERIES,
    UNREADABLE,
    ids,
    known,
    value_text,
    written_value,
)

_SEVERAL: Final = "_several"
_ROUNDED: Final = "_rounded"
FLAGS: Final = (_SEVERAL, _ROUNDED)
# For `validate.first_problem`, of the rows that `cleaned` gives.
PROBLEMS: Final = ((pl.col(_SEVERAL), "several_values"), (pl.col(_ROUNDED), "rounded_id"))

_LISTS: Final = pl.List(pl.String())
_SHOWN_CHARACTERS: Final = 60


def cleaned(
    raw: pl.DataFrame,
    ids_in: tuple[str, ...],
    names: tuple[str, ...] = (),
    queries: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
) -> pl.DataFrame:
    """The columns of `raw` that are named, cleaned, and two flags for `PROBLEMS`.

    A list of one value is that value; a list of several and an object stay as they are written, and are flagged.

    Args:
      raw: text columns.
      ids_in: columns of ids, see `schema.values.ids`.
      names: columns of titles, brands and categorical values.
      queries: columns of what people typed.
      numbers: columns of numbers, times and event types.
    """
    several: pl.Series | None = None
    rounded: pl.Series | None = None
    columns: list[pl.Series] = []
    unknown: dict[str, tuple[str, ...]] = dict.fromkeys(ids_in, UNKNOWN_IDS)
    unknown |= dict.fromkeys(names, UNKNOWN_NAMES)
    unknown |= dict.fromkeys(queries, UNKNOWN_QUERIES)
    unknown |= dict.fromkeys(numbers, UNKNOWN_NUMBERS)
    stripped = raw.select(pl.col(*unknown).str.strip_chars())
    # Most columns hold nothing but values; all are asked at once.
    rest = [name for name, others in zip(stripped.columns, _others(stripped, unknown, ids_in), strict=True) if others]
    for name in unknown:
        if name not in rest:
            columns.append(stripped[name])
            continue
        texts, wrong = _one_value(stripped[name], name in names)
        several = wrong if several is None else several if wrong is None else several | wrong
        if name not in ids_in:
            columns.append(known(texts, unknown[name]))
            continue
        texts, lossy = ids(texts)
        rounded = lossy if rounded is None else rounded if lossy is None else rounded | lossy
        columns.append(texts)
    none = pl.repeat(value=False, n=len(raw), eager=True)
    flags = [(none if flag is None else flag).alias(name) for flag, name in ((several, _SEVERAL), (rounded, _ROUNDED))]
    return pl.DataFrame([*columns, *flags])


def _others(stripped: pl.DataFrame, unknown: dict[str, tuple[str, ...]], ids_in: tuple[str, ...]) -> tuple[bool, ...]:
    """Whether a column holds anything beside values: a list, an object, an id as a float, a word for no value."""
    flags = []
    for name, texts in unknown.items():
        value = pl.col(name)
        other = value.str.starts_with("[") | value.str.starts_with("{") | value.is_in(texts)
        flags.append((other | value.str.contains(FLOAT) if name in ids_in else other).any())
    return stripped.select(flags).row(0)


def _one_value(texts: pl.Series, by_name: bool) -> tuple[pl.Series, pl.Series | None]:
    """Texts without lists of one value, and which rows hold a list of several values or an object; None if none do.

    With `by_name` an object that says no more than its name is that name.
    """
    written = (texts.str.starts_with("[") | texts.str.starts_with("{")).fill_null(value=False)
    if not written.any():
        return texts, None
    found = texts.filter(written)
    try:
        lists = found.str.json_decode(_LISTS)
        values, wrong = lists.list.first(), lists.list.len() > 1
        inner = values.str.starts_with("[") | values.str.starts_with("{")
        if inner.any():
            raise PolarsError
    except PolarsError:
        read = [_one_written(text, by_name) for text in found]
        values = pl.Series([value for value, _ in read], dtype=pl.String)
        wrong = pl.Series([is_wrong for _, is_wrong in read], dtype=pl.Boolean)
    places = written.arg_true()
    several = pl.repeat(value=False, n=len(texts), eager=True).scatter(places, wrong.fill_null(value=False))
    values = values.str.strip_chars().zip_with(~wrong, found)
    return texts.scatter(places, values), several if several.any() else None


def _one_written(text: str, by_name: bool) -> tuple[str | None, bool]:
    value = written_value(text)
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value == [] or (isinstance(value, dict) and all(one is None for one in value.values())):
        return None, False
    single = None if value is UNREADABLE or (isinstance(value, dict) and not by_name) else value_text(value)
    return single, single is None


def as_text(column: pl.Series, may_be_list: bool, where: str) -> pl.Series:
    """A column of lists or objects as texts, or as lists of text where they may be; other columns as they are.

    Args:
      column: of one batch.
      may_be_list: whether lists of texts stay lists, and other lists and objects become JSON.
      where: names the column, for the error message.

    Raises:
      InputError: it holds objects or lists where a text is wanted.
    """
    if not column.dtype.is_nested():
        return column
    if may_be_list:
        return column if column.dtype == _LISTS else _json(column)
    if isinstance(column.dtype, pl.Struct):
        fields = [field.name for field in column.dtype.fields]
        raise InputError(
            f"{where} holds objects of {', '.join(fields)}; a text is wanted. Name one of its fields, such as "
            f"{column.name}.{fields[0]}"
        )
    example: object = next((value for value in column.to_list() if value), [])
    shown = orjson.dumps(example, default=_other_json).decode()
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[: _SHOWN_CHARACTERS - 3] + "..."
    raise InputError(f"{where} holds lists, such as {shown}; a text is wanted")


def joined(column: pl.Series) -> pl.Series:
    """Lists of text as the JSON that other formats have; texts as they are."""
    return _json(column) if column.dtype == _LISTS else column


def _json(column: pl.Series) -> pl.Series:
    if _is_json_type(column.dtype):
        wrapped = pl.select(pl.struct(column.alias("c")).struct.json_encode()).to_series()
        texts = wrapped.str.slice(len('{"c":')).str.strip_suffix("}")
    else:
        values = column.to_list()
        texts = pl.Series([orjson.dumps(value, default=_other_json).decode() for value in values], dtype=pl.String)
    return texts.replace("null", None).alias(column.name)


def _is_json_type(kind: pl.DataType) -> bool:
    """Whether polars can write it as JSON; of other types, such as bytes, it panics."""
    if isinstance(kind, pl.Struct):
        return all(_is_json_type(field.dtype) for field in kind.fields)  # type: ignore[arg-type]
    if isinstance(kind, pl.List):
        return _is_json_type(kind.inner)  # type: ignore[arg-type]
    return kind.is_integer() or kind.is_float() or kind in (pl.String, pl.Boolean, pl.Null)


def _other_json(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)

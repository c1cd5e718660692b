"""The documents of UBI dumps, out of any shape and format, as columns of text.

JSON lines may hold plain documents; bulk dumps, where an action line `{"index": {"_id": ...}}` comes before each
document; hit dumps, where the document is under `_source`; or whole answers of a search, with the hits in them. Rows
of CSV and Parquet files and of BigQuery's tables are read as documents; a nested field may be a column of its own
there, as in `event_attributes.object.object_id`, or its JSON.
"""

import io
import json
from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Final

import orjson
import polars as pl
from polars.exceptions import PolarsError

from components.example_gen.columns import CLIENT_ID
from components.example_gen.inputs import Input, Split, columns_of, documents
from components.example_gen.readers import jsonl
from schema.file_head import SearchResponseError
from schema.values import UNKNOWN_IDS, UNKNOWN_QUERIES, exact_numbers, known, written_value

# The ids of what a query found, by preference: `object_id_field` of each hit as the plugin of 2024 calls them, the same
# as the documentation calls them, and the engine's ids of the hits. A list, or a text that holds one.
FOUND: Final = ("query_response_object_ids", "query_response_objects_ids", "query_response_hit_ids")
# Only a query document has one of these. They tell it from an event where its text is null.
OF_QUERIES: Final = (*FOUND, "query_response_id", "query_attributes")
_ATTRIBUTES: Final = "event_attributes"
# Where documents have the item, by preference; `key_value` is of the first collectors, `object_id` and `rank` are
# columns of OpenSearch's data generator.
ITEM: Final = (
    f"{_ATTRIBUTES}.object.object_id",
    f"{_ATTRIBUTES}.object.key_value",
    f"{_ATTRIBUTES}.object_id",
    "object_id",
)
# A number, or as in 1.0 an object with the number as its `index`.
ORDINAL: Final = (
    f"{_ATTRIBUTES}.position.ordinal",
    f"{_ATTRIBUTES}.position.ordinal.index",
    f"{_ATTRIBUTES}.object.position.ordinal",
    f"{_ATTRIBUTES}.rank",
    "rank",
)
USER: Final = ("user_id", f"{_ATTRIBUTES}.user_id")

_COMMON: Final = (
    "action_name",
    "query_id",
    CLIENT_ID,
    "user_id",
    "user_query",
    "message",
    "message_type",
    "timestamp",
    *OF_QUERIES,
)
_OF_EVENTS: Final = tuple(name for name in (*ITEM, *ORDINAL, *USER) if name not in _COMMON)
# What is read of a document at its top.
QUERY_FIELDS: Final = _COMMON
EVENT_FIELDS: Final = (*_COMMON, *_OF_EVENTS, _ATTRIBUTES)
# What people wrote, which may be a word that elsewhere stands for no value.
_TEXTS: Final = ("user_query", "message")
_ACTIONS: Final = ("index", "create")
_SOURCE: Final = "_source"
# The answer of a search: {"hits": {"hits": [{"_source": ...}]}}.
_HITS: Final = "hits"


def read_documents(source: Split, *, events: bool) -> Iterator[tuple[pl.DataFrame, list[tuple[str, str]]]]:
    """The fields of documents, all text, in batches; and what is no document, as (reason, raw text).

    Args:
      source: what to read.
      events: whether the fields are those of `ubi_events`, or else of `ubi_queries`.
    """
    names = (*_COMMON, *_OF_EVENTS) if events else _COMMON
    for data, rejects in documents(source, EVENT_FIELDS if events else QUERY_FIELDS):
        frame, more = _read(data, names)
        yield frame.with_columns(_known(frame[name]) for name in names), rejects + more


def document_fields(source: Input, head_bytes: int) -> tuple[str, ...]:
    """The fields of the first documents of a dump.

    Raises:
      InputError: it cannot be read.
    """
    try:
        return tuple(name.removeprefix(f"{_SOURCE}.") for name in columns_of(source, head_bytes))
    except SearchResponseError:
        # The documents are too deep in it for its head to name their fields.
        return EVENT_FIELDS


def _known(texts: pl.Series) -> pl.Series:
    """Null where a text stands for no value; an empty one still tells what kind of document it is in."""
    unknown = UNKNOWN_QUERIES if texts.name in _TEXTS else UNKNOWN_IDS
    return known(texts, tuple(name for name in unknown if name))


def _read(data: bytes, names: tuple[str, ...]) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    fields = {**dict.fromkeys(names, pl.String()), **_nested(names)}
    action = pl.Struct({"_index": pl.String})
    schema = {**fields, **dict.fromkeys(_ACTIONS, action), _SOURCE: pl.Struct(fields), _HITS: pl.String()}
    data = exact_numbers(data)
    if jsonl.has_lone_surrogate(data):
        return _read_loosely(data, names)
    try:
        frame = pl.read_ndjson(io.BytesIO(data), schema=schema)
    except PolarsError:
        return _read_loosely(data, names)
    is_action = pl.any_horizontal([pl.col(name).is_not_null() for name in _ACTIONS])
    inner = pl.col(_SOURCE).struct
    rows = frame.filter(~is_action & ~_is_object(_HITS)).select(
        pl.coalesce(
            pl.col(name),
            inner.field(name),
            *(_field(top, name) for top in (pl.col(_ATTRIBUTES), inner.field(_ATTRIBUTES)) if _is_nested(name)),
        ).alias(name)
        for name in names
    )
    return _with_more(rows, [], frame[_HITS], names)


def _read_loosely(data: bytes, names: tuple[str, ...]) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """The same of documents whose nested fields are not all what they should be: a text, a list, a number."""
    tops = (*(name for name in (_ATTRIBUTES,) if _nested(names)), *_ACTIONS, _SOURCE, _HITS)
    batch = jsonl.parse_lines(data, dict.fromkeys((*names, *tops), pl.String()))
    frame = batch.frame
    is_action = pl.any_horizontal([_is_object(name) for name in _ACTIONS]) & pl.col("timestamp").is_null()
    rows = frame.filter(~is_action & pl.col(_SOURCE).is_null() & ~_is_object(_HITS))
    if _ATTRIBUTES in rows.columns:
        rows = rows.with_columns(_as_json(rows[_ATTRIBUTES]))
        rows = rows.with_columns(
            pl.coalesce(pl.col(name), pl.col(_ATTRIBUTES).str.json_path_match(_json_path(name))).alias(name)
            for name in names
            if _is_nested(name)
        )
    rows, rejects = _with_more(rows.select(names), batch.rejects, frame[_HITS], names)
    inner = frame[_SOURCE].drop_nulls()
    if inner.is_empty():
        return rows, rejects
    more, more_rejects = _read("\n".join(inner).encode(), names)
    return pl.concat([rows, more]), rejects + more_rejects


def _with_more(
    rows: pl.DataFrame, rejects: list[tuple[str, str]], answers: pl.Series, names: tuple[str, ...]
) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """The rows, and those of the hits in whole answers of a search."""
    objects = answers.filter(answers.str.starts_with("{").fill_null(value=False))
    hits = [hit for answer in objects for hit in _hits_of(answer)]
    if not hits:
        return rows, rejects
    more, more_rejects = _read(b"\n".join(hits), names)
    return pl.concat([rows, more]), rejects + more_rejects


def _hits_of(answer: str) -> list[bytes]:
    try:
        hits = orjson.loads(answer)[_HITS]
        return [orjson.dumps(hit) for hit in hits if isinstance(hit, dict)]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return []


def _is_object(name: str) -> pl.Expr:
    return pl.col(name).str.starts_with("{").fill_null(value=False)


def _is_nested(name: str) -> bool:
    return name.startswith(f"{_ATTRIBUTES}.")


def _nested(names: tuple[str, ...]) -> dict[str, pl.DataType]:
    """The type of `event_attributes` that has the nested ones of `names`."""
    paths = [name.split(".")[1:] for name in names if _is_nested(name) and not name.endswith(".index")]
    return {_ATTRIBUTES: _struct(paths)} if paths else {}


def _struct(paths: Iterable[list[str]]) -> pl.Struct:
    inner: dict[str, list[list[str]]] = {}
    for first, *rest in paths:
        inner.setdefault(first, []).append(rest)
    return pl.Struct({name: _struct(rest) if all(rest) else pl.String() for name, rest in inner.items()})


def _field(top: pl.Expr, name: str) -> pl.Expr:
    path = name.removesuffix(".index").split(".")[1:]
    return reduce(lambda expression, key: expression.struct.field(key), path, top)


def _json_path(name: str) -> str:
    return "$." + ".".join(name.split(".")[1:])


def _as_json(texts: pl.Series) -> pl.Series:
    """The objects among `texts` as JSON, also those that Python has printed."""
    printed = texts.str.contains(r"^\s*\{\s*'").fill_null(value=False)
    if not printed.any():
        return texts
    distinct = texts.filter(printed).unique()
    return texts.replace(distinct, pl.Series([_json_of(text) for text in distinct], dtype=pl.String))


def _json_of(text: str) -> str | None:
    value = written_value(text)
    try:
        return json.dumps(value, default=str) if isinstance(value, dict) else None
    except TypeError:
        return None

"""The shop's catalog file, opened whatever its format, for programs that show its items."""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import polars as pl

from schema import features
from schema.file_head import csv_form, is_gzip
from schema.settings import InputError
from schema.values import ids

_HEAD_BYTES: Final = 64 << 10
_HIT: Final = b'"_source"'


def scan_catalog(path: Path, columns: Sequence[str], names: Mapping[str, str]) -> pl.LazyFrame:
    """Those of `columns` that a file (.jsonl, .csv, .parquet; texts also as .gz) has, read when they are collected.

    Args:
      path: the file.
      columns: what is wanted, the id among it.
      names: what the file calls those columns that it calls otherwise; `a.b` may be a field of the object `a`.

    Raises:
      InputError: if the format is not known, or there is no column for `item_id`.
      OSError: if the file cannot be read; also a `polars.exceptions.PolarsError`.
    """
    sources = {column: names.get(column, column) for column in columns}
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix in (".jsonl", ".ndjson", ".json"):
        # A line that is not JSON gives nulls: it is ingestion's to report, and must not hide the other items.
        line = pl.scan_lines(path, name="line").select(pl.col("line").str.strip_chars())
        hits = _HIT in _head(path)
        return line.select(_named(column, _in_json(source, hits)) for column, source in sources.items())
    if suffix in (".csv", ".tsv"):
        form = csv_form(_head(path))
        scan = pl.scan_csv(path, infer_schema=False, separator=form.delimiter, skip_lines=form.skipped_lines)
    elif suffix == ".parquet":
        scan = pl.scan_parquet(path)
    else:
        raise InputError(
            f"The format of the catalog file {path} is not known by its name. "
            "It must end in .jsonl, .ndjson, .json, .csv, .tsv (each also with .gz) or .parquet."
        )
    types = scan.collect_schema()
    found = {column: _in_table(types, source) for column, source in sources.items()}
    if found[features.ITEM_ID] is None:
        raise InputError(
            f"{path} has no column `{sources[features.ITEM_ID]}` (it has: {', '.join(types.names())}), "
            "so items cannot be looked up in it. Give the catalog that the model was trained on."
        )
    return scan.select(_named(column, value) for column, value in found.items() if value is not None)


def _head(path: Path) -> bytes:
    """The first bytes, unpacked."""
    with path.open("rb") as stream:
        packed = is_gzip(stream.read(_HEAD_BYTES), str(path))
        stream.seek(0)
        try:
            return gzip.GzipFile(fileobj=stream).read(_HEAD_BYTES) if packed else stream.read(_HEAD_BYTES)
        except (EOFError, zlib.error) as error:
            raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> InputError:
    """What to say when reading it failed."""
    return InputError(f"The catalog file {path} cannot be read: {error}")


def _named(column: str, value: pl.Expr) -> pl.Expr:
    """`value` under the name `column`; ids as ingestion reads them."""
    if column == features.ITEM_ID:
        texts = value.cast(pl.String).str.strip_chars()
        value = texts.map_batches(lambda batch: ids(batch)[0], return_dtype=pl.String)
    return value.alias(column)


def _in_json(source: str, hits: bool) -> pl.Expr:
    """The value of the key `source`, or where its dots lead to; in the `hits` of a search engine, of their documents
    first.
    """
    paths = [[source], source.split(".")] if "." in source else [[source]]
    if hits:
        paths = [["_source", *keys] for keys in paths] + paths
    return pl.coalesce(pl.col("line").str.json_path_match(_json_path(keys)) for keys in paths)


def _json_path(keys: Sequence[str]) -> str:
    return "$" + "".join(f"[{json.dumps(key, ensure_ascii=False)}]" for key in keys)


def _in_table(types: pl.Schema, source: str) -> pl.Expr | None:
    """The column `source`, or the field that its dots lead to; None if there is neither."""
    if source in types:
        return pl.col(source)
    top, *fields = source.split(".")
    value, kind = pl.col(top), cast(Any, types.get(top))
    for field in fields:
        inner = {one.name: one.dtype for one in kind.fields} if isinstance(kind, pl.Struct) else {}
        if field not in inner:
            return None
        value, kind = value.struct.field(field), inner[field]
    return value if fields and kind is not None else None

"""Parquet files, and Arrow batches as BigQuery sends them too, as record batches of text columns."""

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as arrow
import pyarrow.parquet as arrow_parquet
from polars.exceptions import PolarsError

from components.example_gen.columns import RecordBatch
from components.example_gen.files import FileSplit, InputFile, open_raw
from schema.settings import InputError

BATCH_ROWS = 128 * 1024


def read_batches(source: FileSplit, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
    """Batches of the file's rows; timestamps become epoch milliseconds, bytes that are not UTF-8 rejects.

    `a.b` is the column of that name, or the field `b` of the struct `a`.
    """
    with open_raw(source.file.path) as stream:
        try:
            file = arrow_parquet.ParquetFile(stream)
            paths = _paths(file.schema_arrow, columns)
            present = [".".join(path) for path in paths.values()]
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=present):
                yield from_arrow(_flat(batch, paths), columns)
        except (pa.ArrowException, PolarsError, OSError) as error:
            raise InputError(f"{source.file.path} cannot be read as Parquet: {error}") from error


def columns_of(file: InputFile, head_bytes: int = 0) -> tuple[str, ...]:
    """The names of the top-level columns, which the file's end holds, whatever `head_bytes` says."""
    with open_raw(file.path) as stream:
        try:
            names = arrow_parquet.ParquetFile(stream).schema_arrow.names
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file.path} cannot be read as Parquet: {error}") from error
    if len(set(names)) < len(names):
        raise InputError(f"{file.path} names a column twice: {', '.join(names)}")
    return tuple(names)


def _paths(schema: pa.Schema, columns: tuple[str, ...]) -> dict[str, list[str]]:
    """Where those of `columns` are that the file has: at the top, or in structs."""
    found: dict[str, list[str]] = {}
    for name in columns:
        keys = [name] if name in schema.names else name.split(".")
        if _is_there(schema, keys):
            found[name] = keys
    return found


def _is_there(schema: pa.Schema, keys: list[str]) -> bool:
    kind: pa.DataType = pa.struct(schema)
    for key in keys:
        if not pa.types.is_struct(kind) or kind.get_field_index(key) < 0:
            return False
        kind = kind.field(key).type
    return True


def _flat(batch: pa.RecordBatch, paths: dict[str, list[str]]) -> pa.RecordBatch:
    """The columns at `paths` under their names."""
    if all(len(path) == 1 for path in paths.values()):
        return batch
    columns = []
    for top, *fields in paths.values():
        column = batch.column(top)
        for field in fields:
            column = arrow.struct_field(column, [column.type.get_field_index(field)])
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=list(paths))


def from_arrow(batch: pa.RecordBatch, columns: tuple[str, ...]) -> RecordBatch:
    """The rows of `batch`; timestamps become epoch milliseconds, NaN null, bytes that are not UTF-8 rejects.

    Args:
      batch: some of `columns`: of types that have a text, lists of such, structs, or lists of lists or structs.
      columns: the wanted ones; one that the batch does not have is all null.

    Raises:
      pa.ArrowException, PolarsError: a column of another type.
    """
    texts: dict[str, pa.Array] = {}
    lists: dict[str, pl.Series] = {}
    for name in batch.schema.names:
        column = batch.column(name)
        if pa.types.is_nested(column.type):
            lists[name] = _lists(pl.Series(name, pl.from_arrow(column)))
        else:
            texts[name] = _as_bytes(column)
    good = ~_not_utf8(texts.values(), batch.num_rows)
    rejects = [("not_utf8", _raw(texts, row)) for row in np.flatnonzero(~good).tolist()]
    if rejects:
        kept = pa.array(good)
        texts = {name: column.filter(kept) for name, column in texts.items()}
        lists = {name: values.filter(pl.Series(good)) for name, values in lists.items()}
    missing = [name for name in columns if name not in batch.schema.names]
    frame = pl.DataFrame([*(_text(name, column) for name, column in texts.items()), *lists.values()])
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)
    return RecordBatch(frame.select(columns), rejects)


def _lists(values: pl.Series) -> pl.Series:
    """Lists of text out of lists of plain values; other nested values as they are."""
    inner = values.dtype.inner if isinstance(values.dtype, pl.List | pl.Array) else None
    if inner is None or inner.is_nested():
        return values
    lists = values.cast(pl.List(inner))
    if inner.is_float():
        number = pl.element()
        text = pl.when(number.floor() == number).then(number.cast(pl.Int64, strict=False).cast(pl.String))
        return lists.list.eval(pl.when(number.is_not_nan()).then(pl.coalesce(text, number.cast(pl.String))))
    return lists.cast(pl.List(pl.String))


def milliseconds(column: pa.Array) -> pa.Array:
    """Epoch milliseconds of a timestamp column; one without a zone is UTC."""
    return column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False).cast(pa.int64())


def _as_bytes(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type):
        column = milliseconds(column)
    elif pa.types.is_decimal(column.type):
        # Arrow has no cast of these, and a float would make one of two long ids.
        column = pa.array([None if value is None else f"{value:f}" for value in column.to_pylist()], pa.string())
    elif pa.types.is_floating(column.type):
        column = _number_texts(column)
    if pa.types.is_binary(column.type):
        return column
    if pa.types.is_large_binary(column.type) or pa.types.is_fixed_size_binary(column.type):
        return column.cast(pa.binary())
    return column.cast(pa.string()).cast(pa.binary())


def _number_texts(column: pa.Array) -> pa.Array:
    """Texts of floating point numbers: whole ones, as ids are where one is missing, as whole numbers; null for NaN."""
    column = arrow.if_else(arrow.is_nan(column), pa.scalar(None, column.type), column)
    whole = arrow.and_(arrow.equal(arrow.floor(column), column), arrow.less(arrow.abs(column), 2.0**53))
    # Others keep a point, by which `schema.values.ids` knows a number that has lost digits.
    texts = arrow.replace_substring_regex(column.cast(pa.string()), r"^(-?\d)e", r"\1.0e")
    if not arrow.any(whole).as_py():
        return texts
    numbers = arrow.if_else(whole, column, pa.scalar(None, column.type)).cast(pa.int64(), safe=False)
    return arrow.if_else(arrow.fill_null(whole, False), numbers.cast(pa.string()), texts)


def _not_utf8(columns: Iterable[pa.Array], rows: int) -> np.ndarray:
    """Which rows [rows] hold bytes that are not UTF-8 in any of the bytes columns."""
    bad = np.zeros(rows, bool)
    for column in columns:
        try:
            column.cast(pa.string())
        except pa.ArrowInvalid:
            bad |= [value is not None and not _is_utf8(value) for value in column.to_pylist()]
    return bad


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _text(name: str, column: pa.Array) -> pl.Series:
    return pl.Series(name, pl.from_arrow(column.cast(pa.string())), dtype=pl.String)


def _raw(columns: dict[str, pa.Array], row: int) -> str:
    values = (column[row].as_py() or b"" for column in columns.values())
    return ",".join(value.decode("utf-8", "backslashreplace") for value in values)

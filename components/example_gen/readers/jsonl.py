"""JSON lines: one object per line, plain or gzipped."""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import BinaryIO

import orjson
import polars as pl
from polars.exceptions import ComputeError, PolarsError

from components.example_gen.columns import RecordBatch
from components.example_gen.files import FileSplit, InputFile, open_stream
from schema.file_head import MARK, check_json_lines, without_mark
from schema.settings import InputError
from schema.values import exact_numbers, without_nan

BATCH_BYTES = 32 << 20
_MAX_LINE_BYTES = 64 << 20
# An escaped backslash, a pair of surrogates, or one alone, as JavaScript leaves it where it cuts an emoji.
_SURROGATES = re.compile(
    rb"\\(?:\\|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<alone>u[dD][89a-fA-F][0-9a-fA-F]{2}))"
)
# Of a search engine's hits: where the document is, and its id beside it.
_DOCUMENT = "_source"
_HIT_ID = "_id"


def read_batches(source: FileSplit, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
    """Batches of the lines that begin in the split; `a.b` is the key of that name, or `b` within the object `a`.

    Of a search engine's hits the columns are those of the document under `_source`, or else of the hit.
    """
    for data in line_batches(source):
        yield read_lines(data, columns)


def read_lines(data: bytes, columns: tuple[str, ...]) -> RecordBatch:
    """What `read_batches` makes of whole lines."""
    nested = {name: name.split(".") for name in columns if "." in name}
    read = dict.fromkeys((*columns, *(path[0] for path in nested.values()), _DOCUMENT), pl.String())
    batch = _documents(parse_lines(data, read), read)
    if nested:
        # An object comes as its JSON, whatever else the rows hold in its place.
        inner = [
            pl.coalesce(name, pl.col(path[0]).str.json_path_match(_json_path(path[1:])))
            for name, path in nested.items()
        ]
        batch = RecordBatch(batch.frame.with_columns(inner), batch.rejects)
    return RecordBatch(batch.frame.select(columns), batch.rejects)


def columns_of(file: InputFile, head_bytes: int) -> tuple[str, ...]:
    """The keys of the objects in the first `head_bytes`, in order of appearance; of a search engine's hits, those
    of the documents in them, and `_id`.

    Raises:
      InputError: if the file cannot be read, or holds no lines of UTF-8 or one JSON document over many lines.
    """
    with open_stream(file) as stream:
        try:
            head = stream.read(head_bytes)
        except (OSError, EOFError) as error:
            raise InputError(f"{file.path} cannot be read: {error}") from error
    return keys_of(head, file.path)


def keys_of(head: bytes, path: str) -> tuple[str, ...]:
    """As `columns_of`, of JSON lines at hand that are named `path`."""
    names: dict[str, None] = {}
    lines = without_nan(without_mark(head, path)).splitlines()
    check_json_lines(lines, path)
    for line in lines:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        document = row.get(_DOCUMENT) if isinstance(row, dict) else None
        if isinstance(document, dict):
            names.update(dict.fromkeys((*document, _HIT_ID) if _HIT_ID in row else document))
        elif isinstance(row, dict) and row.keys() - names.keys():
            names.update(dict.fromkeys(row))
    return tuple(names)


def parse_lines(data: bytes, schema: Mapping[str, pl.DataType]) -> RecordBatch:
    """The columns `schema` of the JSON lines in `data`; lines that are no JSON object become rejects. NaN is null.

    All of `data` goes through polars' columnar parser. Only where that fails are its lines tried one by one,
    and the good ones go through the same parser, so that both ways have the same values.
    """
    data = exact_numbers(data)
    with suppress(PolarsError):
        return RecordBatch(_parse(data, schema))
    repaired = without_nan(data)
    if repaired is not data:
        data = repaired
        with suppress(PolarsError):
            return RecordBatch(_parse(data, schema))
    good: list[bytes] = []
    rejects: list[tuple[str, str]] = []
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        reason = _reject_reason(line)
        if reason is None:
            good.append(line)
        else:
            rejects.append((reason, line.decode("utf-8", "backslashreplace")))
    frame, stubborn = _parse_or_halve(good, schema)
    return RecordBatch(frame, rejects + stubborn)


def has_lone_surrogate(data: bytes) -> bool:
    """Whether an escaped surrogate in JSON is half of no pair; such a text is none."""
    # One byte is found many times faster than three.
    if b"\\" not in data or (b"\\ud" not in data and b"\\uD" not in data):
        return False
    return any(match["alone"] for match in _SURROGATES.finditer(data))


def line_batches(source: FileSplit, batch_bytes: int = BATCH_BYTES) -> Iterator[bytes]:
    """Whole lines of the split, about `batch_bytes` at a time."""
    return islice(_line_batches(source, batch_bytes), source.part, None, source.parts)


def _line_batches(source: FileSplit, batch_bytes: int) -> Iterator[bytes]:
    file = source.file
    with open_stream(file) as stream:
        try:
            position = _seek_to_line(stream, source)
            rest = b""
            first = position == 0
            # A gzipped file is one range whose end is not known in decompressed bytes.
            end = None if file.gzipped else source.end
            while end is None or position + len(rest) < end:
                wanted = batch_bytes if end is None else min(batch_bytes, end - position - len(rest))
                chunk = stream.read(wanted)
                if not chunk:
                    break
                data = rest + chunk
                if first:
                    data, first = data.removeprefix(MARK), False
                cut = data.rfind(b"\n") + 1
                if not cut and len(data) > _MAX_LINE_BYTES:
                    raise InputError(
                        f"{file.path} has a line of more than {_MAX_LINE_BYTES >> 20} MiB; is it JSON lines?"
                    )
                if cut:
                    yield data[:cut]
                position += len(rest) + len(chunk) - (len(data) - cut)
                rest = data[cut:]
            if rest:
                # The last line began in this split; its end may lie beyond.
                tail = rest + (b"" if end is None else stream.readline())
                if tail.strip():
                    yield tail
        except (OSError, EOFError) as error:
            raise InputError(f"{file.path} cannot be read to its end: {error}; is it cut short?") from error


def _documents(batch: RecordBatch, schema: Mapping[str, pl.DataType]) -> RecordBatch:
    """Rows that are hits as the documents in them."""
    hits = batch.frame[_DOCUMENT].str.starts_with("{").fill_null(value=False)
    if not hits.any():
        return batch
    inner = parse_lines("\n".join(batch.frame[_DOCUMENT].filter(hits)).encode(), schema)
    outer = batch.frame.filter(hits)
    found = [
        pl.coalesce(pl.lit(inner.frame[name]), pl.lit(outer[name])).alias(name) for name in schema if name != _DOCUMENT
    ]
    places = hits.arg_true()
    rows = batch.frame.with_columns(batch.frame[column.name].scatter(places, column) for column in pl.select(found))
    return RecordBatch(rows, batch.rejects)


def _json_path(keys: list[str]) -> str:
    return "$" + "".join(f"[{orjson.dumps(key).decode()}]" for key in keys)


def _seek_to_line(stream: BinaryIO, source: FileSplit) -> int:
    if source.start == 0:
        return 0
    stream.seek(source.start - 1)
    return source.start - 1 + len(stream.readline())


def _parse(data: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    if not data or data.isspace():
        return pl.DataFrame(schema=dict(schema))
    if has_lone_surrogate(data):
        raise ComputeError("half of a surrogate pair, of which the parser would make NUL")
    return pl.read_ndjson(io.BytesIO(data), schema=dict(schema))


def _reject_reason(line: bytes) -> str | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return "not_utf8"
        return "not_json"
    return None if isinstance(row, dict) else "not_json"


def _parse_or_halve(
    lines: list[bytes], schema: Mapping[str, pl.DataType]
) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """Parses `lines`, each a JSON object; splits them until what this parser alone refuses is found."""
    try:
        return _parse(b"\n".join(lines), schema), []
    except PolarsError:
        if len(lines) == 1:
            return pl.DataFrame(schema=dict(schema)), [("not_json", lines[0].decode("utf-8"))]
    middle = len(lines) // 2
    left, left_rejects = _parse_or_halve(lines[:middle], schema)
    right, right_rejects = _parse_or_halve(lines[middle:], schema)
    return pl.concat([left, right]), left_rejects + right_rejects

"""The inputs of a job, files or BigQuery tables behind one interface: found, split, read.

To read from something else, write a `Connector` for it and put it into `_CONNECTORS`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import polars as pl

from components.example_gen import readers
from components.example_gen.clean import as_text
from components.example_gen.cloud import Table, find_tables, is_table
from components.example_gen.columns import RecordBatch
from components.example_gen.files import FileSplit, InputFile, find_files, split_files
from components.example_gen.readers import bigquery, jsonl
from components.example_gen.readers.bigquery import TableStream
from components.example_gen.readers.documents import read_documents


@dataclass(frozen=True)
class Lines:
    """JSON lines in memory, as of events that have just come; whole, and one split.

    Attributes:
      data: the lines.
      path: where they came from.
      index: tells it from other splits.
    """

    data: bytes
    path: str
    index: int = 0

    @property
    def decoded_size(self) -> int:
        """As of any split."""
        return len(self.data)


Input = InputFile | Table
Split = FileSplit | TableStream | Lines


@dataclass(frozen=True)
class Reading:
    """What is read of an input.

    Attributes:
      what: the setting that names the input, for error messages.
      columns: which; an input may lack some.
      documents: whether rows are read as JSON documents, whose values may be nested.
      payer: the project that pays for reading a table, if not that of the environment.
      names: what the input calls those of the columns that it calls otherwise.
      lists: columns that may be lists.
      inexact: columns that may be floating point numbers.
    """

    what: str
    columns: tuple[str, ...]
    documents: bool = False
    payer: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    lists: tuple[str, ...] = ()
    inexact: tuple[str, ...] = ()

    def source(self, column: str) -> str:
        """What the input calls `column`."""
        return self.names.get(column, column)

    @property
    def sources(self) -> tuple[str, ...]:
        """What the input calls the columns, each once."""
        return tuple(dict.fromkeys(map(self.source, self.columns)))


class Connector(Protocol):
    """A kind of store: its inputs, and their splits, each of which one worker reads; both are pickled.

    An input has a `path` that tells it from all others, `names_all_columns` and a `size`; a split has its input's
    `path`, an `index` and a `decoded_size`, a guess of its bytes as text.
    """

    classes: tuple[type, type]
    """Of its inputs and of its splits."""

    def owns(self, pattern: str) -> bool:
        """Whether `pattern` is for this connector."""

    def find(self, patterns: tuple[str, ...], what: str) -> list[Any]:
        """The inputs that `patterns` name, each once, at least one for each pattern."""

    def columns_of(self, source: Any, head_bytes: int) -> tuple[str, ...]:
        """The names of its columns; where only rows name them, those that the first `head_bytes` do."""

    def split(self, sources: list[Any], reading: Reading, first: int) -> list[Any]:
        """The splits of the inputs, their indices from `first` on."""

    def read_batches(self, split: Any, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
        """Its rows; the same batches each time, as a worker that is tried again writes over what it wrote."""

    def documents(self, split: Any, names: tuple[str, ...]) -> Iterator[tuple[bytes, list[tuple[str, str]]]]:
        """Its rows as JSON documents, one a line, with at least the fields `names`; and what is no row."""


class _Files:
    classes: tuple[type, type] = (InputFile, FileSplit)

    def owns(self, pattern: str) -> bool:
        return not is_table(pattern)

    def find(self, patterns: tuple[str, ...], what: str) -> list[InputFile]:
        return find_files(patterns, what)

    def columns_of(self, source: InputFile, head_bytes: int) -> tuple[str, ...]:
        return readers.columns_of(source, head_bytes)

    def split(self, sources: list[InputFile], reading: Reading, first: int) -> list[FileSplit]:
        return split_files(sources, first=first)

    def read_batches(self, split: FileSplit, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
        return readers.read_batches(split, columns)

    def documents(self, split: FileSplit, names: tuple[str, ...]) -> Iterator[tuple[bytes, list[tuple[str, str]]]]:
        return read_documents(split, names)


class _BigQuery:
    classes: tuple[type, type] = (Table, TableStream)

    def owns(self, pattern: str) -> bool:
        return is_table(pattern)

    def find(self, patterns: tuple[str, ...], what: str) -> list[Table]:
        found = {table.path: table for pattern in patterns for table in find_tables(pattern, what)}
        return [found[path] for path in sorted(found)]

    def columns_of(self, source: Table, head_bytes: int) -> tuple[str, ...]:
        return tuple(column.name for column in source.columns)

    def split(self, sources: list[Table], reading: Reading, first: int) -> list[TableStream]:
        found: list[TableStream] = []
        for table in sources:
            found += bigquery.open_streams(table, reading, first=first + len(found))
        return found

    def read_batches(self, split: TableStream, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
        return bigquery.read_batches(split, columns)

    def documents(self, split: TableStream, names: tuple[str, ...]) -> Iterator[tuple[bytes, list[tuple[str, str]]]]:
        return ((data, []) for data in bigquery.json_lines(split))


class _Lines:
    classes: tuple[type, type] = (Lines, Lines)

    def owns(self, pattern: str) -> bool:
        return False

    def find(self, patterns: tuple[str, ...], what: str) -> list[Lines]:
        return []

    def columns_of(self, source: Lines, head_bytes: int) -> tuple[str, ...]:
        return jsonl.keys_of(source.data[:head_bytes], source.path)

    def split(self, sources: list[Lines], reading: Reading, first: int) -> list[Lines]:
        return sources

    def read_batches(self, split: Lines, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
        yield jsonl.read_lines(split.data, columns)

    def documents(self, split: Lines, names: tuple[str, ...]) -> Iterator[tuple[bytes, list[tuple[str, str]]]]:
        yield split.data, []


_CONNECTORS: Final[tuple[Connector, ...]] = (_Files(), _BigQuery(), _Lines())


def find_inputs(patterns: tuple[str, ...], what: str) -> list[Input]:
    """The files and tables that `patterns` name.

    Args:
      patterns: paths, globs or addresses of tables.
      what: the setting that they come from, for the error message.

    Raises:
      InputError: one names nothing, or what it names cannot be read.
    """
    found: list[Input] = []
    for connector in _CONNECTORS:
        own = tuple(pattern for pattern in patterns if connector.owns(pattern))
        found += connector.find(own, what) if own else []
    return found


def columns_of(source: Input, head_bytes: int) -> tuple[str, ...]:
    """As `Connector.columns_of`.

    Raises:
      InputError: the input cannot be read.
    """
    return _of(source).columns_of(source, head_bytes)


def split_inputs(sources: list[Input], reading: Reading) -> list[Split]:
    """The splits of inputs; `index` tells them apart.

    Raises:
      InputError: what is to be read cannot be.
    """
    splits: list[Split] = []
    for connector in _CONNECTORS:
        own = [source for source in sources if isinstance(source, connector.classes)]
        splits += connector.split(own, reading, first=len(splits)) if own else []
    return splits


def read_batches(split: Split, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
    """The rows of `split` in batches of bounded size; a column that it does not have is all null.

    Raises:
      InputError: it cannot be read.
    """
    return _of(split).read_batches(split, columns)


def read_rows(split: Split, reading: Reading) -> Iterator[RecordBatch]:
    """The rows of `split` in batches of bounded size, under Souk's names; a column that it does not have is all null.

    Raises:
      InputError: it cannot be read, or has lists or objects where a text is wanted.
    """
    for batch in read_batches(split, reading.sources):
        columns = []
        for name in reading.columns:
            source = reading.source(name)
            where = f"`{reading.what}`: the column {source} of {split.path}"
            columns.append(as_text(batch.frame[source], name in reading.lists, where).alias(name))
        yield RecordBatch(pl.DataFrame(columns), batch.rejects)


def documents(split: Split, names: tuple[str, ...]) -> Iterator[tuple[bytes, list[tuple[str, str]]]]:
    """The rows of `split` as JSON documents, whole lines at a time, with at least those of the fields `names` that it
    has; and what is no row, as (reason, raw text).

    Raises:
      InputError: it cannot be read.
    """
    return _of(split).documents(split, names)


def _of(source: Input | Split) -> Connector:
    return next(connector for connector in _CONNECTORS if isinstance(source, connector.classes))

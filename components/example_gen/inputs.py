"""The inputs of a job, whatever holds them: files or BigQuery tables, behind one face.

To read from something else, write a `Connector` for it and put it into `_CONNECTORS`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from components.example_gen import readers
from components.example_gen.bigquery import streams
from components.example_gen.bigquery.address import is_table
from components.example_gen.bigquery.streams import TableStream
from components.example_gen.bigquery.tables import Table, find_tables
from components.example_gen.files import FileRange, InputFile, cut_ranges, find_files
from components.example_gen.readers import jsonl
from components.example_gen.readers.block import Block

Input = InputFile | Table
Piece = FileRange | TableStream


@dataclass(frozen=True)
class Reading:
    """What is read of an input.

    Attributes:
      what: the setting that names the input, for error messages.
      columns: which; an input may lack some.
      documents: whether rows are read as JSON documents, whose values may be nested.
      payer: the project that pays for reading a table, if not that of the environment.
    """

    what: str
    columns: tuple[str, ...]
    documents: bool = False
    payer: str = ""


class Connector(Protocol):
    """What a kind of store gives: inputs, and pieces of them that one worker reads each; both are pickled.

    An input has a `path` that tells it from all others, `documents` (whether `json_lines` can read it),
    `names_all_columns` and a `size`; a piece has its input's `path`, an `index` and a `decoded_size`, a guess of its
    bytes as text.
    """

    classes: tuple[type, type]
    """Of its inputs and of its pieces."""

    def owns(self, pattern: str) -> bool:
        """Whether `pattern` is for this connector."""

    def find(self, patterns: tuple[str, ...], what: str) -> list[Any]:
        """The inputs that `patterns` name, each once, at least one for each pattern."""

    def columns_of(self, source: Any, head_bytes: int) -> tuple[str, ...]:
        """The names of its columns; where only rows name them, those that the first `head_bytes` do."""

    def cut(self, sources: list[Any], reading: Reading, first: int) -> list[Any]:
        """The pieces of the inputs, their indices from `first` on."""

    def read_blocks(self, piece: Any, columns: tuple[str, ...]) -> Iterator[Block]:
        """Its rows; the same blocks each time, as a worker that is tried again writes over what it wrote."""

    def json_lines(self, piece: Any) -> Iterator[bytes]:
        """Its rows as JSON documents, one a line."""


class _Files:
    classes: tuple[type, type] = (InputFile, FileRange)

    def owns(self, pattern: str) -> bool:
        return not is_table(pattern)

    def find(self, patterns: tuple[str, ...], what: str) -> list[InputFile]:
        return find_files(patterns, what)

    def columns_of(self, source: InputFile, head_bytes: int) -> tuple[str, ...]:
        return readers.columns_of(source, head_bytes)

    def cut(self, sources: list[InputFile], reading: Reading, first: int) -> list[FileRange]:
        return cut_ranges(sources, first=first)

    def read_blocks(self, piece: FileRange, columns: tuple[str, ...]) -> Iterator[Block]:
        return readers.read_blocks(piece, columns)

    def json_lines(self, piece: FileRange) -> Iterator[bytes]:
        return jsonl.line_blocks(piece)


class _BigQuery:
    classes: tuple[type, type] = (Table, TableStream)

    def owns(self, pattern: str) -> bool:
        return is_table(pattern)

    def find(self, patterns: tuple[str, ...], what: str) -> list[Table]:
        found = {table.path: table for pattern in patterns for table in find_tables(pattern, what)}
        return [found[path] for path in sorted(found)]

    def columns_of(self, source: Table, head_bytes: int) -> tuple[str, ...]:
        return tuple(column.name for column in source.columns)

    def cut(self, sources: list[Table], reading: Reading, first: int) -> list[TableStream]:
        pieces: list[TableStream] = []
        for table in sources:
            pieces += streams.open_streams(
                table,
                reading.what,
                reading.columns,
                nested=reading.documents,
                project=reading.payer,
                first=first + len(pieces),
            )
        return pieces

    def read_blocks(self, piece: TableStream, columns: tuple[str, ...]) -> Iterator[Block]:
        return streams.read_blocks(piece, columns)

    def json_lines(self, piece: TableStream) -> Iterator[bytes]:
        return streams.json_lines(piece)


_CONNECTORS: Final[tuple[Connector, ...]] = (_Files(), _BigQuery())


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


def cut_inputs(sources: list[Input], reading: Reading) -> list[Piece]:
    """Units of parallel reading; `index` tells them apart.

    Raises:
      InputError: what is to be read cannot be.
    """
    pieces: list[Piece] = []
    for connector in _CONNECTORS:
        own = [source for source in sources if isinstance(source, connector.classes)]
        pieces += connector.cut(own, reading, first=len(pieces)) if own else []
    return pieces


def read_blocks(piece: Piece, columns: tuple[str, ...]) -> Iterator[Block]:
    """The rows of `piece` in blocks of bounded size; a column that it does not have is all null.

    Raises:
      InputError: it cannot be read.
    """
    return _of(piece).read_blocks(piece, columns)


def json_lines(piece: Piece) -> Iterator[bytes]:
    """The rows of `piece` as JSON documents, whole lines at a time.

    Raises:
      InputError: it cannot be read.
    """
    return _of(piece).json_lines(piece)


def _of(source: Input | Piece) -> Connector:
    return next(connector for connector in _CONNECTORS if isinstance(source, connector.classes))

"""Tables of BigQuery, read as Arrow through the Storage Read API.

Beam's `ReadFromBigQuery` makes a Python dict of each row, which columnar steps would have to undo. So Beam distributes
the streams here, and each worker reads its own. A read session, opened when the job is planned, divides a snapshot of
the table into streams. A stream has the same rows in the same order each time, so a worker that is tried again repeats
itself. Google keeps a session for at least 6 hours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
import polars as pl
import pyarrow as pa
from polars.exceptions import PolarsError

from components.example_gen.cloud import (
    JSON,
    Table,
    check_columns,
    default_project,
    explain,
    is_final,
    read_client,
)
from components.example_gen.columns import RecordBatch
from components.example_gen.files import SPLIT_BYTES
from components.example_gen.readers.parquet import BATCH_ROWS, from_arrow, milliseconds
from schema.settings import InputError

if TYPE_CHECKING:
    from components.example_gen.inputs import Reading

READ_ROWS: Final = (
    "roles/bigquery.dataViewer on the table and roles/bigquery.readSessionUser on the project that pays for the reading"
)
# Bytes of a table for which another stream is asked; BigQuery may give fewer streams.
STREAM_BYTES = SPLIT_BYTES
_MOST_STREAMS: Final = 1000


@dataclass(frozen=True)
class TableStream:
    """The split of a table that one worker reads.

    Attributes:
      table: that they are of.
      stream: the name under which they are read.
      index: names the split within its input.
      decoded_size: a guess of their bytes as text.
    """

    table: Table
    stream: str
    index: int
    decoded_size: int

    @property
    def path(self) -> str:
        """Of the table."""
        return self.table.path


def open_streams(table: Table, reading: "Reading", first: int) -> list[TableStream]:
    """Opens a read session.

    Args:
      table: to read.
      reading: what is read of it; columns that the table does not have are left out. By default the project of the
        environment pays, or the table's.
      first: the index of the first stream.

    Raises:
      InputError: a column's type, the condition, or the account's rights will not do; or there is no row.
    """
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.bigquery_storage_v1 import types

    check_columns(table, reading)
    what, columns = reading.what, reading.sources
    payer = reading.payer or default_project() or table.address.project
    options = types.ReadSession.TableReadOptions(
        selected_fields=[column.name for column in table.columns if column.name in columns],
        row_restriction=table.address.where,
        arrow_serialization_options=types.ArrowSerializationOptions(
            buffer_compression=types.ArrowSerializationOptions.CompressionCodec.LZ4_FRAME
        ),
    )
    wanted = types.ReadSession(table=table.resource, data_format=types.DataFormat.ARROW, read_options=options)
    client = read_client()
    try:
        session = client.create_read_session(
            parent=f"projects/{payer}",
            read_session=wanted,
            max_stream_count=min(max(table.size // STREAM_BYTES, 1), _MOST_STREAMS),
        )
    except (GoogleAPICallError, GoogleAuthError) as error:
        raise InputError(
            f"`{what}`: {table.path} cannot be read at the cost of project {payer}: {explain(error, READ_ROWS)}"
        ) from error
    finally:
        client.transport.close()
    if not session.streams:
        chosen = "no row fits its condition" if table.address.where else "it has no rows"
        raise InputError(f"`{what}`: {table.path} is empty: {chosen}")
    size = (session.estimated_total_bytes_scanned or table.size) // len(session.streams)
    return [TableStream(table, stream.name, first + number, size) for number, stream in enumerate(session.streams)]


def read_batches(source: TableStream, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
    """The stream's rows in batches of `BATCH_ROWS`, as `from_arrow` reads them.

    Raises:
      InputError: BigQuery refuses to give them.
    """
    for batch in _batches(source):
        try:
            yield from_arrow(batch, columns)
        except (pa.ArrowException, PolarsError) as error:
            raise InputError(f"{source.path} cannot be read: {error}") from error


def json_lines(source: TableStream) -> Iterator[bytes]:
    """The stream's rows as JSON lines, timestamps as epoch milliseconds and JSON columns as what they hold.

    Raises:
      InputError: BigQuery refuses to give them.
    """
    json_columns = [column.name for column in source.table.columns if column.type == JSON]
    for batch in _batches(source):
        rows = {
            name: milliseconds(values) if pa.types.is_timestamp(values.type) else values
            for name, values in zip(batch.schema.names, batch.columns, strict=True)
        }
        found = [name for name in json_columns if name in rows]
        if not found:
            yield pl.DataFrame(pl.from_arrow(pa.table(rows))).write_ndjson().encode()
            continue
        lines = []
        for row in pa.table(rows).to_pylist():
            row.update({name: orjson.Fragment(row[name]) for name in found if row[name] is not None})
            lines.append(orjson.dumps(row, default=str))
        yield b"\n".join(lines) + b"\n"


def _batches(source: TableStream) -> Iterator[pa.RecordBatch]:
    """Batches of `BATCH_ROWS` rows but for the last, whatever the pages of BigQuery: a worker that is tried again must
    write the same files.
    """
    from google.api_core.exceptions import GoogleAPICallError

    client = read_client()
    waiting: list[pa.RecordBatch] = []
    rows = 0
    try:
        for page in client.read_rows(source.stream).rows().pages:
            if not page.num_items:
                continue
            waiting.append(page.to_arrow())
            rows += page.num_items
            while rows >= BATCH_ROWS:
                table = pa.Table.from_batches(waiting)
                yield _one_batch(table.slice(0, BATCH_ROWS))
                waiting = table.slice(BATCH_ROWS).to_batches()
                rows -= BATCH_ROWS
        if rows:
            yield _one_batch(pa.Table.from_batches(waiting))
    except GoogleAPICallError as error:
        if not is_final(error):
            # The runner tries the stream again.
            raise
        raise InputError(f"{source.path} cannot be read to its end: {explain(error, READ_ROWS)}") from error
    finally:
        client.transport.close()


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    (batch,) = table.combine_chunks().to_batches()
    return batch

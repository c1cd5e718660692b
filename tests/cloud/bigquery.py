"""BigQuery over tables in memory: the REST resources of tables, and the Storage Read API by gRPC with Arrow batches.

Types are served as BigQuery documents them (https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details);
conditions are evaluated by polars' SQL, which stands in for GoogleSQL.
"""

import itertools
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import polars as pl
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types

from tests.cloud.http import Answer, Request, error, json_answer

_SERVICE = "google.cloud.bigquery.storage.v1.BigQueryRead"
# By the names that the REST API uses.
_ARROW: dict[str, pa.DataType] = {
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "INTEGER": pa.int64(),
    "FLOAT": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "DATETIME": pa.timestamp("us"),
    "DATE": pa.date32(),
    "JSON": pa.string(),
    "GEOGRAPHY": pa.string(),
}


@dataclass(frozen=True)
class Field:
    """A column; `fields` are those of a RECORD."""

    name: str
    type: str = "STRING"
    mode: str = "NULLABLE"
    fields: tuple["Field", ...] = ()

    @property
    def resource(self) -> dict[str, Any]:
        inner = {"fields": [field.resource for field in self.fields]} if self.fields else {}
        return {"name": self.name, "type": self.type, "mode": self.mode, **inner}

    @property
    def arrow(self) -> pa.Field:
        kind = pa.struct([field.arrow for field in self.fields]) if self.type == "RECORD" else _ARROW[self.type]
        return pa.field(self.name, pa.list_(kind) if self.mode == "REPEATED" else kind)


@dataclass(frozen=True)
class FakeTable:
    """A table's columns and rows; `changed` is milliseconds since 1970."""

    fields: tuple[Field, ...]
    rows: pa.Table
    kind: str = "TABLE"
    changed: int = 1_795_000_000_000


class BigQuery:
    """All tables, by `project.dataset.table`. An HTTP service, and while started a gRPC server too.

    Attributes:
      tables: to be altered at will.
      streams: how many streams a session has at most.
      page_rows: rows of one answer.
      payers: the projects that may pay; all if None.
      breaks: how many more streams break off after their first answer, as connections do.
      idle: whether a stream begins with an answer that has no rows, as it may where a condition leaves few.
      sessions: what was asked for, as (paying project, session).
    """

    def __init__(self) -> None:
        self.tables: dict[str, FakeTable] = {}
        self.streams = 3
        self.page_rows = 7
        self.payers: set[str] | None = None
        self.breaks = 0
        self.idle = False
        self.sessions: list[tuple[str, types.ReadSession]] = []
        self._parts: dict[str, pa.Table] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(8))
        handlers = {
            "CreateReadSession": grpc.unary_unary_rpc_method_handler(
                self._create, types.CreateReadSessionRequest.deserialize, types.ReadSession.serialize
            ),
            "ReadRows": grpc.unary_stream_rpc_method_handler(
                self._read, types.ReadRowsRequest.deserialize, types.ReadRowsResponse.serialize
            ),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        """Stops the gRPC server."""
        self._server.stop(None)

    def put(self, name: str, fields: tuple[Field, ...], rows: list[dict[str, Any]], kind: str = "TABLE") -> None:
        """Makes a table of `rows`, which hold what Arrow takes for the types of `fields`."""
        changed = 1_795_000_000_000 + next(self._numbers)
        table = pa.Table.from_pylist(rows, pa.schema([field.arrow for field in fields]))
        self.tables[name] = FakeTable(fields, table, kind, changed)

    def answer(self, request: Request) -> Answer | None:
        """The REST API's `tables.list` and `tables.get`; no dataset has the label that Beam looks for."""
        if re.fullmatch(r"/bigquery/v2/projects/[^/]+/datasets", request.path):
            return json_answer({"kind": "bigquery#datasetList"})
        found = re.fullmatch(r"/bigquery/v2/projects/([^/]+)/datasets/([^/]+)/tables(?:/([^/]+))?", request.path)
        if not found:
            return None
        project, dataset, table = found.groups()
        prefix = f"{project}.{dataset}."
        if table is None:
            names = [name.removeprefix(prefix) for name in self.tables if name.startswith(prefix)]
            if not names:
                return error(404, f"Not found: Dataset {project}:{dataset}")
            reference = {"projectId": project, "datasetId": dataset}
            items = [{"kind": "bigquery#table", "tableReference": reference | {"tableId": name}} for name in names]
            return json_answer({"kind": "bigquery#tableList", "tables": items, "totalItems": len(items)})
        kept = self.tables.get(prefix + table)
        if kept is None:
            return error(404, f"Not found: Table {project}:{dataset}.{table}")
        return json_answer(
            {
                "kind": "bigquery#table",
                "etag": f"etag-{kept.changed}",
                "tableReference": {"projectId": project, "datasetId": dataset, "tableId": table},
                "schema": {"fields": [field.resource for field in kept.fields]},
                "numRows": str(kept.rows.num_rows),
                "numBytes": str(kept.rows.nbytes),
                "lastModifiedTime": str(kept.changed),
                "type": kept.kind,
                "location": "EU",
            }
        )

    def _create(self, request: types.CreateReadSessionRequest, context: grpc.ServicerContext) -> types.ReadSession:
        session = request.read_session
        payer = request.parent.removeprefix("projects/")
        self.sessions.append((payer, session))
        if self.payers is not None and payer not in self.payers:
            message = f"Permission 'bigquery.readsessions.create' denied on resource '{request.parent}'"
            context.abort(grpc.StatusCode.PERMISSION_DENIED, message)
        name = ".".join(session.table.split("/")[1::2])
        if name not in self.tables:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: Table {name}")
        rows = self.tables[name].rows
        if restriction := session.read_options.row_restriction:
            try:
                chosen = pl.SQLContext(t=pl.from_arrow(rows)).execute(f"SELECT * FROM t WHERE {restriction}")
                rows = chosen.collect().to_arrow().cast(rows.schema)
            except Exception as problem:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"row_restriction: {problem}")
        if session.read_options.selected_fields:
            rows = rows.select(list(session.read_options.selected_fields))
        count = min(request.max_stream_count or self.streams, self.streams, max(rows.num_rows, 0))
        number = next(self._numbers)
        made = types.ReadSession(
            name=f"projects/{payer}/locations/eu/sessions/s{number}",
            table=session.table,
            data_format=session.data_format,
            arrow_schema=types.ArrowSchema(serialized_schema=rows.schema.serialize().to_pybytes()),
            estimated_total_bytes_scanned=rows.nbytes,
        )
        with self._lock:
            for part in range(count):
                stream = types.ReadStream(name=f"{made.name}/streams/{part}")
                first = rows.num_rows * part // count
                self._parts[stream.name] = rows.slice(first, rows.num_rows * (part + 1) // count - first)
                made.streams.append(stream)
        return made

    def _read(self, request: types.ReadRowsRequest, context: grpc.ServicerContext) -> Iterator[types.ReadRowsResponse]:
        rows = self._parts.get(request.read_stream)
        if rows is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Session {request.read_stream} is not there or expired")
        assert rows is not None
        schema = types.ArrowSchema(serialized_schema=rows.schema.serialize().to_pybytes())
        if self.idle:
            yield types.ReadRowsResponse(arrow_schema=schema)
        for start in range(request.offset, rows.num_rows, self.page_rows):
            (batch,) = rows.slice(start, self.page_rows).combine_chunks().to_batches()
            answer = types.ReadRowsResponse(
                row_count=batch.num_rows,
                arrow_record_batch=types.ArrowRecordBatch(serialized_record_batch=_compressed(batch)),
            )
            if start == request.offset:
                answer.arrow_schema = schema
            yield answer
            with self._lock:
                broken, self.breaks = self.breaks > 0, max(self.breaks - 1, 0)
            if broken:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")


def _compressed(batch: pa.RecordBatch) -> bytes:
    """The message of a batch whose buffers are packed as asked for."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(batch)
    _, message = pa.ipc.MessageReader.open_stream(sink.getvalue())
    return bytes(message.serialize())

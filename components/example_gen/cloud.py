"""Google Cloud: how the settings name BigQuery tables, what these hold, clients, and what a refusal means.

A table's address is `bigquery://project.dataset.table?where=...`. Its name may hold `*` for any text, as `events_*`
does for tables by day. Credentials come from the environment alone.
"""

import fnmatch
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from schema.secrets import mask
from schema.settings import InputError

if TYPE_CHECKING:
    from google.cloud.bigquery import Client
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

    from components.example_gen.inputs import Reading

SCHEME: Final = "bigquery://"
# In an address, stands for `ingest.date`.
DATE: Final = "{date}"
_EXAMPLE: Final = f"{SCHEME}project.dataset.table"
_PROJECT: Final = r"(?:[a-z0-9.-]+\.[a-z]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
_ADDRESS: Final = re.compile(
    rf"{SCHEME}(?P<project>{_PROJECT})[.:](?P<dataset>\w+)\.(?P<table>[\w *-]+)(?:\?where=(?P<where>.*))?", re.DOTALL
)
_WHERE: Final = "?where="
DESCRIBE_TABLES: Final = "roles/bigquery.dataViewer on the dataset"
# What the Storage Read API reads; by the name that BigQuery gives to a table's type.
_READABLE: Final = frozenset({"TABLE", "MATERIALIZED_VIEW", "EXTERNAL", "SNAPSHOT", "CLONE"})

# Types of a column that have a text; both the names of GoogleSQL and the older ones.
_TIMES: Final = frozenset({"TIMESTAMP", "DATETIME"})
_NUMBERS: Final = frozenset({"INTEGER", "INT64", "FLOAT", "FLOAT64", "NUMERIC", "BIGNUMERIC"})
_PLAIN: Final = frozenset({"STRING", "BYTES", "BOOLEAN", "BOOL", "DATE", "JSON"}) | _TIMES | _NUMBERS
_FLOATS: Final = frozenset({"FLOAT", "FLOAT64"})
REPEATED: Final = "REPEATED"
JSON: Final = "JSON"

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
# An emulator's address of REST, as Google's own client knows it, and of gRPC (host:port).
REST_EMULATOR: Final = "BIGQUERY_EMULATOR_HOST"
GRPC_EMULATOR: Final = "BIGQUERY_STORAGE_EMULATOR_HOST"
_UNLIMITED: Final = (("grpc.max_receive_message_length", -1),)

READ_STORAGE: Final = "roles/storage.objectViewer on the bucket"
WRITE_STORAGE: Final = "roles/storage.objectUser on the bucket"
SIGN_IN: Final = (
    "sign in with `gcloud auth application-default login`, name a key file in GOOGLE_APPLICATION_CREDENTIALS, or run "
    "as a service account"
)


@dataclass(frozen=True)
class Address:
    """A table, or all tables whose names a pattern with `*` fits.

    Attributes:
      project: that holds the dataset.
      dataset: that holds the table.
      table: its name, or a pattern.
      where: which rows, as SQL would say it after WHERE; all if empty.
    """

    project: str
    dataset: str
    table: str
    where: str = ""


def is_table(address: str) -> bool:
    """Whether an input's address names a table in place of files."""
    return address.startswith(SCHEME)


def parse_address(text: str) -> Address:
    """The parts of an address.

    Raises:
      InputError: it is spelled wrong.
    """
    # Of what the date would make of it.
    match = _ADDRESS.fullmatch(dated(text, "2000-01-01") if DATE in text else text)
    if match is None:
        raise InputError(f"{text!r} is no address of a table: {_problem(text)}")
    where = match["where"]
    if where is not None and not where.strip():
        raise InputError(f"{text!r} has nothing after `where=`; write a condition, or leave out `{_WHERE}`")
    return Address(match["project"], match["dataset"], match["table"], (where or "").strip())


def dated(text: str, date: str) -> str:
    """`text` with the day in the place of `{date}`: 20261120 in a table's name, as tables by day are called, and
    2026-11-20 in the condition, as SQL writes it.
    """
    name, mark, condition = text.partition(_WHERE)
    return name.replace(DATE, date.replace("-", "")) + mark + condition.replace(DATE, date)


def _problem(text: str) -> str:
    name, _, rest = text.removeprefix(SCHEME).partition("?")
    if rest and not rest.startswith("where="):
        return f"after `?` it may have `where=` alone, as in {_EXAMPLE}?where=country = 'DE'"
    if "$" in name or "@" in name:
        return (
            "it may have no partition (`$`) and no moment (`@`), which the Storage Read API does not know; choose the "
            f"partition by a condition, as in {_EXAMPLE}?where=_PARTITIONDATE = '2026-11-20'"
        )
    if "/" in name:
        return f"its parts are joined by dots, as in {_EXAMPLE}"
    if name.count(".") == 1 and ":" not in name:
        return f"it names no project; write {_EXAMPLE}"
    return f"write {_EXAMPLE}, with the project's id (small letters, digits and hyphens)"


@dataclass(frozen=True)
class Column:
    """A top-level column: its name, its type as BigQuery calls it, and whether it is NULLABLE, REQUIRED or REPEATED."""

    name: str
    type: str
    mode: str

    def __str__(self) -> str:
        return f"ARRAY<{self.type}>" if self.mode == REPEATED else self.type


@dataclass(frozen=True)
class Table:
    """One table, or the rows of it that the address's condition chooses.

    Attributes:
      address: that names this table alone.
      columns: the top-level ones.
      version: a text that changes whenever the table does.
      size: bytes of all rows, those aside that were streamed in the last minutes.
    """

    address: Address
    columns: tuple[Column, ...]
    version: str
    size: int

    documents = True
    names_all_columns = True

    @property
    def path(self) -> str:
        """The address; dead letters name their table by it."""
        where = f"?where={self.address.where}" if self.address.where else ""
        return f"{SCHEME}{self.address.project}.{self.address.dataset}.{self.address.table}{where}"

    @property
    def resource(self) -> str:
        """The table's name in requests to read it."""
        return f"projects/{self.address.project}/datasets/{self.address.dataset}/tables/{self.address.table}"


def find_tables(address: str, what: str) -> list[Table]:
    """The tables that `address` names, sorted by name.

    Args:
      address: as `parse_address` takes it.
      what: the setting that it comes from, for the error message.

    Raises:
      InputError: no such table, no right to see it, none that the Storage Read API reads, or no credentials.
    """
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

    parsed = parse_address(address)
    client = tables_client(parsed.project)
    try:
        names = _names(client, parsed)
        if not names:
            raise InputError(f"`{what}`: no table of {parsed.project}.{parsed.dataset} is called like {parsed.table!r}")
        return [_describe(client, Address(parsed.project, parsed.dataset, name, parsed.where), what) for name in names]
    except (GoogleAPICallError, GoogleAuthError) as error:
        raise InputError(f"`{what}`: cannot look at {address!r}: {explain(error, DESCRIBE_TABLES)}") from error
    finally:
        client.close()


def check_columns(table: Table, reading: "Reading") -> None:
    """Checks that those of the columns to be read that the table has are of types that can be read.

    Args:
      table: to be read.
      reading: what is read of it; of documents anything is.

    Raises:
      InputError: naming each column, its type and what it should be.
    """
    if reading.documents:
        return
    found = {column.name: column for column in table.columns}
    problems = []
    for name in reading.columns:
        source = reading.source(name)
        column = found.get(source)
        if column is None:
            if "." in source:
                problems.append(f"`{source}` is a field of a struct, which is read from files alone; make it a column")
            continue
        plain = _PLAIN if name in reading.inexact else _PLAIN - _FLOATS
        if column.mode == REPEATED and (name not in reading.lists or column.type not in plain):
            lists = ", ".join(f"`{reading.source(one)}`" for one in reading.lists) or "none"
            problems.append(f"`{source}` is {column}, of which only {lists} may be one, and of STRING")
        elif column.type not in _PLAIN:
            problems.append(f"`{source}` is {column}; it must be a plain type such as STRING")
        elif name == "timestamp" and column.type not in _TIMES | {"STRING", "INTEGER", "INT64"}:
            problems.append(f"`{source}` is {column}; it must be TIMESTAMP, DATETIME (of UTC), STRING or INT64")
        elif column.type not in plain:
            problems.append(f"`{source}` is {column}, which holds no exact text; make it STRING or INT64")
    if problems:
        raise InputError(f"`{reading.what}`: {table.path} has columns that cannot be read: {'; '.join(problems)}.")


def _names(client: "Client", address: Address) -> list[str]:
    if "*" not in address.table:
        return [address.table]
    tables = client.list_tables(f"{address.project}.{address.dataset}")
    return sorted(table.table_id for table in tables if fnmatch.fnmatchcase(table.table_id, address.table))


def _describe(client: "Client", address: Address, what: str) -> Table:
    found = client.get_table(f"{address.project}.{address.dataset}.{address.table}")
    if found.table_type not in _READABLE:
        raise InputError(
            f"`{what}`: {SCHEME}{address.project}.{address.dataset}.{address.table} is a {found.table_type.lower()}, "
            "which the Storage Read API does not read; keep its result in a table (CREATE TABLE ... AS SELECT), or "
            "make it a materialized view"
        )
    columns = tuple(Column(field.name, field.field_type, field.mode) for field in found.schema)
    version = f"{found.modified.timestamp() if found.modified else 0.0}/{found.num_rows}/{found.etag}"
    return Table(address, columns, version, found.num_bytes or 0)


def tables_client(project: str) -> "Client":
    """A client that describes tables.

    Raises:
      InputError: the environment has no credentials.
    """
    from google.cloud.bigquery import Client

    credentials, _ = _credentials(bool(os.environ.get(REST_EMULATOR)))
    return Client(project=project, credentials=credentials)


def read_client() -> "BigQueryReadClient":
    """A client that reads rows.

    Raises:
      InputError: the environment has no credentials.
    """
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

    emulator = os.environ.get(GRPC_EMULATOR)
    if not emulator:
        return BigQueryReadClient(credentials=_credentials()[0])
    import grpc
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    channel = grpc.insecure_channel(emulator, options=_UNLIMITED)
    return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))


def default_project() -> str:
    """The project of the environment: GOOGLE_CLOUD_PROJECT or that of the credentials; "" if there is none."""
    return str(os.environ.get("GOOGLE_CLOUD_PROJECT") or _credentials(bool(os.environ.get(REST_EMULATOR)))[1] or "")


def _credentials(anonymous_will_do: bool = False) -> tuple[Any, str | None]:
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import DefaultCredentialsError

    try:
        found: tuple[Any, str | None] = google.auth.default(scopes=_SCOPES)
    except DefaultCredentialsError as error:
        if anonymous_will_do:
            return AnonymousCredentials(), None
        raise InputError(f"BigQuery cannot be read: {explain(error, '')}") from None
    return found


def explain(error: BaseException, roles: str) -> str:
    """What went wrong, in words.

    Args:
      error: as a client of Google's raised it, or as Beam wrapped it.
      roles: what the account needs, named where it was refused.
    """
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    cause = _cause(error)
    said = " ".join(mask(str(getattr(cause, "message", None) or cause)).split())[:400]
    if isinstance(cause, exceptions.NotFound):
        return f"there is no such thing ({said})"
    if isinstance(cause, exceptions.Unauthorized | exceptions.Unauthenticated | GoogleAuthError):
        return f"not signed in to Google Cloud ({said}); {SIGN_IN}"
    if isinstance(cause, exceptions.Forbidden):
        return f"the account may not ({said}); it needs {roles}"
    return said or type(cause).__name__


def is_final(error: BaseException) -> bool:
    """Whether trying again cannot help: the request itself was refused."""
    from google.api_core import exceptions

    retriable = exceptions.TooManyRequests | exceptions.Aborted | exceptions.Cancelled
    return isinstance(error, exceptions.ClientError) and not isinstance(error, retriable)


def _cause(error: BaseException) -> BaseException:
    details = getattr(error, "exception_details", None)
    inner = next(iter(details.values()), None) if isinstance(details, dict) else None
    return _cause(inner) if isinstance(inner, BaseException) else error

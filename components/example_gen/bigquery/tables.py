"""The tables that addresses name, with what BigQuery says of them without reading a row."""

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from components.example_gen.bigquery.address import SCHEME, Address, parse_address
from components.example_gen.bigquery.client import tables_client
from components.example_gen.cloud_errors import explain
from schema.settings import InputError

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

DESCRIBE_TABLES: Final = "roles/bigquery.dataViewer on the dataset"
# What the Storage Read API reads; by the name that BigQuery gives to a table's type.
_READABLE: Final = frozenset({"TABLE", "MATERIALIZED_VIEW", "EXTERNAL", "SNAPSHOT", "CLONE"})

# Types of a column that have a text; both the names of GoogleSQL and the older ones.
_TIMES: Final = frozenset({"TIMESTAMP", "DATETIME"})
_NUMBERS: Final = frozenset({"INTEGER", "INT64", "FLOAT", "FLOAT64", "NUMERIC", "BIGNUMERIC"})
_PLAIN: Final = frozenset({"STRING", "BYTES", "BOOLEAN", "BOOL", "DATE", "JSON"}) | _TIMES | _NUMBERS
REPEATED: Final = "REPEATED"
JSON: Final = "JSON"


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


def check_columns(table: Table, what: str, wanted: tuple[str, ...], nested: bool) -> None:
    """Checks that those of the columns `wanted` that the table has are of types that can be read.

    Args:
      table: to be read.
      what: the setting that it comes from, for the error message.
      wanted: by name.
      nested: whether structs and lists will do, as they do in documents.

    Raises:
      InputError: naming each column, its type and what it should be.
    """
    if nested:
        return
    problems = []
    for column in table.columns:
        if column.name not in wanted:
            continue
        if column.mode == REPEATED and (column.name, column.type) != ("category", "STRING"):
            problems.append(f"`{column.name}` is {column}, of which only `category` may be one, and of STRING")
        elif column.type not in _PLAIN:
            problems.append(f"`{column.name}` is {column}; it must be a plain type such as STRING")
        elif column.name == "timestamp" and column.type not in _TIMES | {"STRING", "INTEGER", "INT64"}:
            problems.append(f"`timestamp` is {column}; it must be TIMESTAMP, DATETIME (of UTC), STRING or INT64")
        elif column.type in ("FLOAT", "FLOAT64") and column.name != "price":
            problems.append(f"`{column.name}` is {column}, which holds no exact text; make it STRING or INT64")
    if problems:
        raise InputError(f"`{what}`: {table.path} has columns that cannot be read: {'; '.join(problems)}.")


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

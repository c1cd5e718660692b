"""How a BigQuery table is named in the settings: `bigquery://project.dataset.table?where=...`.

The table's name may hold `*` for any text, as `events_*` does for tables by day.
"""

import re
from dataclasses import dataclass
from typing import Final

from schema.settings import InputError

SCHEME: Final = "bigquery://"
# In an address, stands for `ingest.date`.
DATE: Final = "{date}"
_EXAMPLE: Final = f"{SCHEME}project.dataset.table"
_PROJECT: Final = r"(?:[a-z0-9.-]+\.[a-z]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
_ADDRESS: Final = re.compile(
    rf"{SCHEME}(?P<project>{_PROJECT})[.:](?P<dataset>\w+)\.(?P<table>[\w *-]+)(?:\?where=(?P<where>.*))?", re.DOTALL
)
_WHERE: Final = "?where="


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

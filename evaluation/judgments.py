"""Graded judgments: which items people hold to be right for a query. ESCI's form and TREC's.

ESCI (Reddy et al., Shopping Queries Dataset, arXiv 2206.06588): E exact, S substitute, C complement, I
irrelevant, with the gains 1, 0.1, 0.01 and 0 of that paper's NDCG. TREC qrels: whole numbers, 0 and below not
relevant, the gain is the number.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from schema.settings import InputError

Format = Literal["auto", "esci", "trec"]

ESCI_GAINS: Final = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}
_NAMES: Final = {"exact": "E", "substitute": "S", "complement": "C", "irrelevant": "I"}
_QUERY_KEYS: Final = ("query",)
_ITEM_KEYS: Final = ("item_id", "product_id")
_GRADE_KEYS: Final = ("grade", "esci_label")


@dataclass(frozen=True)
class Judgment:
    """One item's worth for one query; `right` is what recall counts: ESCI's E, TREC's 1 and above."""

    item_id: str
    gain: float
    right: bool


@dataclass(frozen=True)
class Judgments:
    """All judgments by query text, in the file's order; `right_name` says what recall counts."""

    by_query: dict[str, tuple[Judgment, ...]]
    right_name: str


def read_judgments(path: Path, form: Format = "auto", queries: Path | None = None) -> Judgments:
    """The judgments in a file; `.gz` is decompressed.

    Args:
      path: ESCI as JSON lines, `[query, item_id, grade]` or objects with these keys; or TREC qrels, lines of
        `query-id 0 item-id relevance`.
      form: "auto" tells by the first line.
      queries: for qrels, a file of `query-id <tab> query text` lines.

    Raises:
      InputError: a file is missing, empty or not of its form, with the number of the first wrong line.
    """
    lines = list(_lines(path, "judgments"))
    if not lines:
        raise InputError(f"the judgments file {path} is empty; give one judgment per line")
    if form == "auto":
        form = _tell_form(path, lines[0][1])
    if form == "trec":
        if queries is None:
            raise InputError(
                f"{path} holds TREC qrels, which name queries by id only; give their texts with --queries FILE "
                "(lines of id, tab, query)"
            )
        return _gather(path, _trec(path, lines, _read_queries(queries)), "items judged relevant")
    if queries is not None:
        raise InputError(f"{path} holds ESCI judgments, which have the query texts; leave --queries out")
    return _gather(path, _esci(path, lines), "E items")


def _gather(path: Path, judgments: Iterator[tuple[int, str, Judgment]], right_name: str) -> Judgments:
    by_query: dict[str, dict[str, Judgment]] = {}
    for number, query, judgment in judgments:
        known = by_query.setdefault(query, {})
        before = known.setdefault(judgment.item_id, judgment)
        if before != judgment:
            raise InputError(
                f"{path}, line {number}: item {judgment.item_id!r} was already judged otherwise for "
                f"{query!r}; keep one of the two lines"
            )
    if not any(judgment.right for known in by_query.values() for judgment in known.values()):
        raise InputError(f"{path}: no query has any of the {right_name} that recall counts")
    return Judgments({query: tuple(known.values()) for query, known in by_query.items()}, right_name)


def _esci(path: Path, lines: list[tuple[int, str]]) -> Iterator[tuple[int, str, Judgment]]:
    for number, line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number} is not JSON ({error.msg}): {_short(line)}") from None
        if isinstance(row, dict):
            row = [_value(row, keys) for keys in (_QUERY_KEYS, _ITEM_KEYS, _GRADE_KEYS)]
        if not isinstance(row, list) or len(row) != 3 or not all(isinstance(part, str) and part for part in row):
            raise InputError(
                f"{path}, line {number} is not [query, item_id, grade] nor an object with these keys: {_short(line)}"
            )
        query, item_id, given = row
        grade = _NAMES.get(given.lower(), given.upper())
        if grade not in ESCI_GAINS:
            raise InputError(f"{path}, line {number}: the grade is {given!r}; grades are E, S, C and I")
        yield number, query, Judgment(item_id, ESCI_GAINS[grade], grade == "E")


def _trec(path: Path, lines: list[tuple[int, str]], queries: dict[str, str]) -> Iterator[tuple[int, str, Judgment]]:
    for number, line in lines:
        parts = line.split()
        if len(parts) != 4 or not parts[3].lstrip("+-").isdigit():
            raise InputError(
                f"{path}, line {number} is not `query-id 0 item-id relevance` with a whole number: {_short(line)}"
            )
        if parts[0] not in queries:
            raise InputError(f"{path}, line {number}: the query id {parts[0]!r} is not in the queries file")
        relevance = int(parts[3])
        yield number, queries[parts[0]], Judgment(parts[2], float(max(0, relevance)), relevance >= 1)


def _read_queries(path: Path) -> dict[str, str]:
    queries: dict[str, str] = {}
    for number, line in _lines(path, "queries"):
        query_id, tab, query = line.partition("\t")
        if not tab or not query_id.strip() or not query.strip():
            raise InputError(f"{path}, line {number} is not `query-id <tab> query`: {_short(line)}")
        if queries.setdefault(query_id.strip(), query.strip()) != query.strip():
            raise InputError(f"{path}, line {number}: the query id {query_id!r} stands for another query above")
    return queries


def _lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """Non-blank lines with their numbers from 1."""
    if not path.is_file():
        raise InputError(f"there is no {what} file {path}; check the path")
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"the {what} file {path} is not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except (gzip.BadGzipFile, EOFError) as error:
        raise InputError(f"the {what} file {path} is no whole gzip file ({error}); copy it again") from None


def _tell_form(path: Path, first: str) -> Literal["esci", "trec"]:
    if first.lstrip().startswith(("[", "{")):
        return "esci"
    if len(first.split()) == 4:
        return "trec"
    raise InputError(
        f"{path}: the first line is neither JSON (ESCI) nor four columns (TREC qrels): {_short(first)}. Name the "
        "form with --format if it should be one of them."
    )


def _value(row: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((row[key] for key in keys if key in row), None)


def _short(line: str) -> str:
    return repr(line if len(line) <= 80 else line[:77] + "...")

"""Graded judgments: which items people hold to be right for a query. ESCI's form, TREC's and Quepid's.

ESCI (Reddy et al., Shopping Queries Dataset, arXiv 2206.06588): E exact, S substitute, C complement, I
irrelevant, with the gains 1, 0.1, 0.01 and 0 of that paper's NDCG. TREC qrels and Quepid's ratings: numbers, 0 and
below not relevant, the gain is the number.
"""

import gzip
import io
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import orjson
import polars as pl

from evaluation.quepid import is_quepid, quepid_rows
from schema.file_head import unpacked
from schema.settings import InputError
from schema.values import ids, value_text

Format = Literal["auto", "esci", "trec", "quepid"]

ESCI_GAINS: Final = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}
_NAMES: Final = {"exact": "E", "substitute": "S", "complement": "C", "irrelevant": "I"}
_QUERY_KEYS: Final = ("query",)
_ITEM_KEYS: Final = ("item_id", "product_id")
_GRADE_KEYS: Final = ("grade", "esci_label")

# A line's number, query, item id and grade: of ESCI a letter, else a number.
_Row = tuple[int, str, str, str | float]


@dataclass(frozen=True)
class Judgment:
    """One item's worth for one query; `right` is what recall counts."""

    item_id: str
    gain: float
    right: bool


@dataclass(frozen=True)
class Judgments:
    """All judgments by query text, in the file's order.

    Attributes:
      right_name: what recall counts, for example "E items".
      grades: how many judgments there are of each grade, best first.
    """

    by_query: dict[str, tuple[Judgment, ...]]
    right_name: str
    grades: dict[str, int] = field(default_factory=dict)


def read_judgments(
    path: Path, form: Format = "auto", queries: Path | None = None, relevant_from: str | None = None
) -> Judgments:
    """The judgments in a file; `.gz` is decompressed.

    Args:
      path: ESCI as JSON lines, `[query, item_id, grade]` or objects with these keys; TREC qrels, lines of
        `query-id 0 item-id relevance`; or Quepid's CSV, see `evaluation.quepid`.
      form: "auto" tells by the first line.
      queries: for qrels, a file of `query-id <tab> query text` lines.
      relevant_from: the lowest grade that counts as right; None for E, of numbers 1.

    Raises:
      InputError: a file is missing, empty or not of its form, with the number of the first wrong line, or no item is
        right.
    """
    text = _text(path, "judgments")
    lines = list(_lines(text))
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
        lowest = _number(relevant_from)
        return _gather(
            path, _trec(path, lines, _read_queries(queries)), {}, lowest, f"items of grade {lowest:g} or more"
        )
    if queries is not None:
        name = "ESCI judgments" if form == "esci" else "Quepid's ratings"
        raise InputError(f"{path} holds {name}, which have the query texts; leave --queries out")
    if form == "quepid":
        lowest = _number(relevant_from)
        return _gather(path, quepid_rows(path, text), {}, lowest, f"items rated {lowest:g} or more")
    grade = _esci_grade(relevant_from)
    right = list(ESCI_GAINS)[: list(ESCI_GAINS).index(grade) + 1]
    names = f"{', '.join(right[:-1])} and {right[-1]}" if len(right) > 1 else right[0]
    return _gather(path, _esci(path, lines), ESCI_GAINS, ESCI_GAINS[grade], f"{names} items")


def check_overlap(judgments: Judgments, item_ids: Mapping[str, Any] | Sequence[str]) -> int:
    """How many right items are not in the catalog.

    Raises:
      InputError: none is.
    """
    known = set(item_ids)
    right = [one.item_id for judged in judgments.by_query.values() for one in judged if one.right]
    missing = [item_id for item_id in right if item_id not in known]
    if len(missing) == len(right):
        raise InputError(
            f"none of the judged items is in the catalog: {missing[0]!r} is not, one of {len(right):,} "
            f"{judgments.right_name}, while {next(iter(item_ids), '')!r} is. The judgments are of another catalog, or "
            "the item ids are written otherwise"
        )
    return len(missing)


def _gather(path: Path, rows: Iterator[_Row], gains: Mapping[str, float], lowest: float, right_name: str) -> Judgments:
    """The rows by query. `gains` are those of grades that are no numbers; from `lowest` on an item is right."""
    by_query: dict[str, dict[str, Judgment]] = {}
    grades: Counter[str | float] = Counter()
    read = list(rows)
    # As ingestion reads them, so that they are those of the catalog.
    item_ids, _ = ids(pl.Series([item_id for _, _, item_id, _ in read], dtype=pl.String).str.strip_chars())
    for (number, query, _, grade), item_id in zip(read, item_ids, strict=True):
        if item_id is None:
            raise InputError(f"{path}, line {number}: there is no item id; leave the line out")
        gain = gains[grade] if isinstance(grade, str) else max(0.0, grade)
        judgment = Judgment(item_id, gain, gain >= lowest)
        known = by_query.setdefault(query, {})
        grades[grade] += item_id not in known
        if known.setdefault(item_id, judgment) != judgment:
            raise InputError(
                f"{path}, line {number}: item {item_id!r} was already judged otherwise for {query!r}; keep one of the "
                "two lines"
            )
    if not any(judgment.right for known in by_query.values() for judgment in known.values()):
        found = ", ".join(_grade_names(grades)) or "none"
        raise InputError(
            f"{path}: no query has any of the {right_name} that recall counts; the file has the grades {found}. "
            "--relevant-from says from which grade on an item is right"
        )
    return Judgments(
        {query: tuple(known.values()) for query, known in by_query.items()}, right_name, _grade_names(grades)
    )


def _grade_names(grades: Mapping[str | float, int]) -> dict[str, int]:
    order = list(ESCI_GAINS)
    best_first = sorted(grades, key=lambda grade: order.index(grade) if isinstance(grade, str) else -grade)
    return {grade if isinstance(grade, str) else f"{grade:g}": grades[grade] for grade in best_first}


def _number(relevant_from: str | None) -> float:
    try:
        lowest = float(relevant_from or 1)
    except ValueError:
        lowest = math.nan
    if not 0 < lowest < math.inf:
        raise InputError(
            f"--relevant-from is {relevant_from!r}, but the grades are numbers; give the lowest one that is right, "
            "above 0"
        )
    return lowest


def _esci_grade(relevant_from: str | None) -> str:
    given = relevant_from or "E"
    grade = _NAMES.get(given.lower(), given.upper())
    if not ESCI_GAINS.get(grade):
        raise InputError(f"--relevant-from is {given!r}, but the grades are ESCI's; give E, S or C")
    return grade


def _esci(path: Path, lines: list[tuple[int, str]]) -> Iterator[_Row]:
    for number, line in lines:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(f"{path}, line {number} is not JSON ({error.msg}): {_short(line)}") from None
        if isinstance(row, dict):
            row = [_value(row, keys) for keys in (_QUERY_KEYS, _ITEM_KEYS, _GRADE_KEYS)]
        if isinstance(row, list) and len(row) == 3 and type(row[1]) in (int, float):
            row[1] = value_text(row[1])
        if not isinstance(row, list) or len(row) != 3 or not all(isinstance(part, str) and part for part in row):
            raise InputError(
                f"{path}, line {number} is not [query, item_id, grade] nor an object with these keys: {_short(line)}"
            )
        query, item_id, given = row
        grade = _NAMES.get(given.lower(), given.upper())
        if grade not in ESCI_GAINS:
            raise InputError(f"{path}, line {number}: the grade is {given!r}; grades are E, S, C and I")
        yield number, query, item_id, grade


def _trec(path: Path, lines: list[tuple[int, str]], queries: dict[str, str]) -> Iterator[_Row]:
    for number, line in lines:
        parts = line.split()
        if len(parts) != 4 or not parts[3].lstrip("+-").isdecimal():
            raise InputError(
                f"{path}, line {number} is not `query-id 0 item-id relevance` with a whole number: {_short(line)}"
            )
        if parts[0] not in queries:
            raise InputError(f"{path}, line {number}: the query id {parts[0]!r} is not in the queries file")
        yield number, queries[parts[0]], parts[2], float(parts[3])


def _read_queries(path: Path) -> dict[str, str]:
    queries: dict[str, str] = {}
    for number, line in _lines(_text(path, "queries")):
        query_id, tab, query = line.partition("\t")
        if not tab or not query_id.strip() or not query.strip():
            raise InputError(f"{path}, line {number} is not `query-id <tab> query`: {_short(line)}")
        if queries.setdefault(query_id.strip(), query.strip()) != query.strip():
            raise InputError(f"{path}, line {number}: the query id {query_id!r} stands for another query above")
    return queries


def _text(path: Path, what: str) -> str:
    if not path.is_file():
        raise InputError(f"there is no {what} file {path}; check the path")
    try:
        return unpacked(path.read_bytes(), str(path)).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the {what} file {path} is not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"the {what} file {path} is no whole gzip file ({error}); copy it again") from None
    except OSError as error:
        raise InputError(f"the {what} file {path} cannot be read ({error.strerror})") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Non-blank lines with their numbers from 1."""
    for number, line in enumerate(io.StringIO(text), start=1):
        if line.strip():
            yield number, line.rstrip("\r\n")


def _tell_form(path: Path, first: str) -> Literal["esci", "trec", "quepid"]:
    if first.lstrip().startswith(("[", "{")):
        return "esci"
    if is_quepid(first):
        return "quepid"
    if len(first.split()) == 4:
        return "trec"
    raise InputError(
        f"{path}: the first line is neither JSON (ESCI) nor four columns (TREC qrels) nor query,docid,rating (Quepid): "
        f"{_short(first)}. Name the form with --format if it should be one of them."
    )


def _value(row: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((row[key] for key in keys if key in row), None)


def _short(line: str) -> str:
    return repr(line if len(line) <= 80 else line[:77] + "...")

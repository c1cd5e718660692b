"""What values in the files of shops mean: which texts stand for no value, ids as numbers, lists as text.

pandas, Spark, Java, spreadsheets and databases each write these in ways of their own.
"""

import ast
import re
from collections.abc import Callable
from typing import Any, Final

import orjson
import polars as pl

# What software writes where a value is missing. Each set has what the one before it has, and more that nobody means in
# its columns: people type "nan" and "null" into a search box, and a brand may be called "None".
UNKNOWN_QUERIES: Final[tuple[str, ...]] = ("", "NaN", "NULL", "\\N", "<NA>", "#N/A")
UNKNOWN_NAMES: Final[tuple[str, ...]] = (*UNKNOWN_QUERIES, "nan", "null")
_NOT_AVAILABLE: Final = ("NA", "N/A", "n/a", "#NA", "#N/A N/A")
UNKNOWN_IDS: Final[tuple[str, ...]] = (*UNKNOWN_NAMES, "-nan", "-NaN", *_NOT_AVAILABLE, "None", "undefined")
UNKNOWN_NUMBERS: Final[tuple[str, ...]] = (*UNKNOWN_IDS, "inf", "+inf", "-inf", "Infinity", "-Infinity")

# A whole number as a program writes a float; or, with `E+`, a rounded one as a spreadsheet shows it.
FLOAT: Final = r"^-?(?:0|[1-9]\d*)(?:\.0+|\.\d+[eE]\+?\d+|E\+\d\d)$"
_SPREADSHEET: Final = r"^-?\d(?:\.\d{1,5})?E\+\d\d$"
# From here on a float has not the digits of every whole number.
_MOST_EXACT: Final = 2.0**53
# Three digits would be thousands.
_DECIMAL_COMMA: Final = r"^(?<whole>-?\d+),(?<part>\d{1,2})$"
# Strings printed beside each other, as NumPy prints an array.
_PRINTED_STRING: Final = r"""(?:'[^'\\]*'|"[^"\\]*")"""
_PRINTED_ARRAY: Final = re.compile(rf"\[\s*{_PRINTED_STRING}(?:\s+{_PRINTED_STRING})+\s*\]")
# What was printed by a program and cannot be read again; other texts in brackets are texts, as "[new] shoe" is.
_PRINTED: Final = re.compile(
    r"""(?s)\[\s*(?:[\['"{(]|array\(|(?:None|nan|True|False|-?\d+(?:\.\d+)?)(?=\s*[,\]])).*\]"""
    r"""|\{.*['"].*\}|\(\s*['"].*\)"""
)

# What Python writes for floats that are no number, which is no JSON; strings are matched so that they stay.
_NO_NUMBER: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b')

_EXPONENT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?\d+)(\.\d+)?([eE]\+\d+)')

# Of `written_value`: printed by a program, but nothing can be made of it.
UNREADABLE: Final = object()


def known(texts: pl.Series, unknown: tuple[str, ...]) -> pl.Series:
    """`texts` [rows], null where one is in `unknown`."""
    missing = texts.is_in(unknown)
    return texts.set(missing, None) if missing.any() else texts


def ids(texts: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Ids out of stripped `texts` [rows]: null where unknown, `22.0` and `4.006381333953E12` as whole numbers.

    Returns:
      The ids, and which rows [rows] hold a number that has lost digits, as `4.00638E+12` has; None if none does.
    """
    found = known(texts, UNKNOWN_IDS)
    floats = found.str.contains(FLOAT).fill_null(value=False)
    if not floats.any():
        return found, None
    written = found.filter(floats)
    numbers = written.cast(pl.Float64)
    exact = (numbers.abs() < _MOST_EXACT) & (numbers == numbers.floor()) & ~written.str.contains(_SPREADSHEET)
    whole = numbers.set(~exact, None).cast(pl.Int64).cast(pl.String)
    places = floats.arg_true()
    rounded = pl.repeat(value=False, n=len(texts), eager=True).scatter(places, ~exact)
    return found.scatter(places, whole.zip_with(exact, written)), rounded if rounded.any() else None


def numbers(texts: pl.Series, kind: type[pl.DataType] = pl.Float32) -> pl.Series:
    """Numbers out of stripped `texts` [rows], `12,50` too; null where a text is none."""
    return texts.str.replace(_DECIMAL_COMMA, "$whole.$part").cast(kind, strict=False)


def without_nan(lines: bytes) -> bytes:
    """JSON lines with null for NaN and Infinity."""
    marks = (b"NaN", b"Infinity")
    return _in_lines(lines, marks, _without_nan) if any(mark in lines for mark in marks) else lines


def exact_numbers(lines: bytes) -> bytes:
    """JSON lines with numbers that have an exponent as texts, which show that their last digits are lost; a parser
    makes whole numbers of them that look like ids.
    """
    return _in_lines(lines, (b"e+", b"E+"), _exact_numbers) if _has_exponent(lines) else lines


def _has_exponent(lines: bytes) -> bool:
    # One byte is found many times faster than two; times with an offset have the first of them in every line.
    if b"+" not in lines:
        return False
    # `souk query` reads this module where NumPy is not installed.
    import numpy as np

    codes = np.frombuffer(lines, np.uint8)
    before = codes[np.maximum(np.flatnonzero(codes == ord("+")) - 1, 0)]
    return bool(np.isin(before, (ord("e"), ord("E"))).any())


def _in_lines(lines: bytes, marks: tuple[bytes, ...], repaired: Callable[[bytes], bytes]) -> bytes:
    """`lines` with those that hold one of `marks` repaired."""
    return b"\n".join(repaired(line) if any(mark in line for mark in marks) else line for line in lines.split(b"\n"))


def _without_nan(line: bytes) -> bytes:
    return _NO_NUMBER.sub(lambda part: part[0] if part[0][:1] == b'"' else b"null", line)


def _exact_numbers(line: bytes) -> bytes:
    return _EXPONENT.sub(lambda part: b'"%b%b%b"' % (part[1], part[2] or b".0", part[3]) if part[3] else part[0], line)


def written_value(text: str) -> Any:
    """The list or object that a text writes as JSON, Python or NumPy does; else the text itself, or `UNREADABLE`."""
    text = text.strip()
    if text[:1] not in ("[", "{", "("):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    if _PRINTED_ARRAY.fullmatch(text):
        return [part[1:-1] for part in re.findall(_PRINTED_STRING, text)]
    if not _PRINTED.fullmatch(text):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return UNREADABLE
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, list | dict) else UNREADABLE


def value_text(value: Any) -> str | None:
    """The text of a list's member: a text, a number, or an object that says no more than its `name`; else None."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        further = any(isinstance(one, list | dict) and one for one in value.values())
        return None if further else value["name"]
    return None

"""A stream of bytes that is always valid UTF-8: a byte that is not becomes one marked character.

Columnar parsers refuse a whole file for one bad byte. Behind this stream they see none, and the rows that hold a
mark are rejected afterwards, alone.
"""

import codecs
import io
from typing import BinaryIO

import polars as pl

# Characters of the last private-use plane, one per byte from 0x80 up; no text uses them.
_MARK = 0x10FF00
_MARKED = r"[\x{10FF80}-\x{10FFFF}]"
# How marks begin in UTF-8.
_MARK_PREFIXES = (b"\xf4\x8f\xbe", b"\xf4\x8f\xbf")
_ERRORS = "souk-mark"


class RepairedStream(io.RawIOBase):
    """Reads `stream`; `marks` tells whether any byte was marked so far."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(_ERRORS)
        self._ready = b""
        self._ended = False
        self.marks = False

    def readable(self) -> bool:
        """Always; the rest of the file protocol follows from `read`."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, all there is if negative, none at the end."""
        while not self._ended and (size < 0 or len(self._ready) < size):
            data = self._stream.read(size if size > 0 else -1)
            self._ended = not data
            self._ready += self._repaired(data)
        end = len(self._ready) if size < 0 else size
        taken, self._ready = self._ready[:end], self._ready[end:]
        return taken

    def _repaired(self, data: bytes) -> bytes:
        repaired = self._decoder.decode(data, final=not data).encode()
        self.marks = self.marks or any(prefix in repaired for prefix in _MARK_PREFIXES)
        return repaired


def without_marked(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """The rows of text columns that hold no mark, and the others as rejects with their bytes escaped."""
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    marked = frame.select(pl.any_horizontal(pl.col(texts).str.contains(_MARKED).fill_null(value=False))).to_series()
    rejects = [
        ("not_utf8", unmarked(",".join(value or "" for value in row)))
        for row in frame.filter(marked).select(texts).rows()
    ]
    return frame.filter(~marked), rejects


def unmarked(text: str) -> str:
    """`text` with each mark as the byte that it stands for, written as in `\\xff`."""
    return "".join(f"\\x{ord(c) - _MARK:02x}" if ord(c) > _MARK else c for c in text)


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_MARK + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ERRORS, _mark)

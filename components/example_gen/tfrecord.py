"""Writes gzipped TFRecord files without importing TensorFlow, which would cost every worker seconds.

The format: length uint64, masked CRC-32C of the length, data, masked CRC-32C of the data; all little-endian.
"""

import struct
import zlib
from collections.abc import Iterable
from functools import lru_cache
from types import TracebackType
from typing import BinaryIO, Self

import google_crc32c

_MASK = 0xA282EAD8
# Level 1: ids barely compress better at higher levels, and these take several times longer.
_LEVEL = 1
_GZIP_WINDOW = 31


class TFRecordWriter:
    """Appends records to an open binary stream; equal records give equal bytes. Closes no stream."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def write(self, records: Iterable[bytes]) -> None:
        """Appends `records` in their order."""
        parts: list[bytes] = []
        for record in records:
            parts += (_header(len(record)), record, _masked_crc(record))
        self._stream.write(self._compressor.compress(b"".join(parts)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.write(self._compressor.flush())


@lru_cache(maxsize=65536)
def _header(length: int) -> bytes:
    data = struct.pack("<Q", length)
    return data + _masked_crc(data)


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return ((((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF).to_bytes(4, "little")

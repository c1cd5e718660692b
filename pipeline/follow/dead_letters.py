"""Rejected events with their reasons: a stream beside the user states, or a file."""

from pathlib import Path
from typing import Any, Final, Protocol

import orjson
import polars as pl

from pipeline.follow.events import EXPLANATIONS
from schema.file_errors import naming
from souk_client.user_state_layout import DEAD_LETTERS_KEY

_MOST: Final = 100_000


class DeadLetters(Protocol):
    """Keeps rejected events."""

    def write(self, rejects: pl.DataFrame) -> None:
        """Keeps them (schema `validate.REJECTS`)."""


class DeadLetterStream:
    """The Redis stream `souk:dead_letters`, of which about the newest 100,000 are kept.

    Args:
      client: of the Redis server.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def write(self, rejects: pl.DataFrame) -> None:
        """See `DeadLetters.write`."""
        if rejects.is_empty():
            return
        with self._client.pipeline(transaction=False) as pipe:
            for reason, source, row in rejects.iter_rows():
                fields = {"reason": reason, "explanation": EXPLANATIONS[reason], "source": source, "row": row}
                pipe.xadd(DEAD_LETTERS_KEY, fields, maxlen=_MOST, approximate=True)
            pipe.execute()


class DeadLetterFile:
    """A file of JSON lines, as ingestion's; what is there stays.

    Args:
      path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with naming(path), path.open("ab"):
            pass

    def write(self, rejects: pl.DataFrame) -> None:
        """See `DeadLetters.write`."""
        if rejects.is_empty():
            return
        with naming(self._path), self._path.open("ab") as stream:
            for reason, source, row in rejects.iter_rows():
                line = {"reason": reason, "explanation": EXPLANATIONS[reason], "file": source}
                stream.write(orjson.dumps(line | {"row": orjson.Fragment(row)}) + b"\n")

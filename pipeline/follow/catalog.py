"""The items that the catalog has, which are those that events may be of."""

import os
import time
from collections.abc import Callable
from typing import Final

import polars as pl

from components.example_gen.catalog import validate_items
from components.example_gen.cloud import is_table
from components.example_gen.config import IngestConfig
from components.example_gen.inputs import read_rows, split_inputs
from components.example_gen.job import CATALOG, catalog_inputs, reading_of
from schema.settings import InputError

_LOOK_EVERY_S: Final = 60.0


class KnownItems:
    """The ids of the catalog, read again when its files change.

    Args:
      config: names the catalog; None knows of none, and every item is taken.
      say: is told when the catalog was read, or could not be.

    Raises:
      InputError: if it cannot be read.
    """

    def __init__(self, config: IngestConfig | None, say: Callable[[str], None] = lambda text: None) -> None:
        self._config = config
        self._say = say
        self._look_at = 0.0
        self._seen: object = None
        self._ids: frozenset[str] | None = None
        if config is not None:
            self._seen = _state_of(config)
            self._ids = _read(config)
            say(f"the catalog has {len(self._ids):,} items")

    def ids(self) -> frozenset[str] | None:
        """The ids; None where every item is taken."""
        if self._config is not None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_EVERY_S
            state = _state_of(self._config)
            if state != self._seen:
                self._seen = state
                try:
                    self._ids = _read(self._config)
                    self._say(f"the catalog has changed, and has {len(self._ids):,} items")
                except InputError as error:
                    self._say(f"the catalog has changed and cannot be read, so the items are those of before: {error}")
        return self._ids


def _state_of(config: IngestConfig) -> object:
    """What changes when local files of the catalog do."""
    try:
        sources, _ = catalog_inputs(config)
        paths = [source.path for source in sources if not is_table(source.path) and "://" not in source.path]
        return [(path, os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in paths]
    except (InputError, OSError) as error:
        return str(error)


def _read(config: IngestConfig) -> frozenset[str]:
    data = config.data
    reading = reading_of(CATALOG, config)
    sources, _ = catalog_inputs(config)
    found: list[pl.Series] = []
    for split in split_inputs(sources, reading):
        for batch in read_rows(split, reading):
            items, _, _ = validate_items(batch.frame, 0, data.catalog_columns, config.max_text_characters)
            found.append(items["item_id"])
    return frozenset(pl.concat(found)) if found else frozenset()

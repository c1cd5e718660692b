"""Fills an empty store from what ingestion wrote.

`user_state.parquet` has lists and no times. So the values of a list are spread evenly over its window before the end of
the log, in their order: at that moment the store gives the very lists of the file, and later they leave one by one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from schema import features
from schema.artifacts import INGESTION_FILE
from schema.settings import InputError
from serving.user_state.parquet import check_exists, scan_user_states, unreadable
from souk_client.behavior_windows import BehaviorWindows
from souk_client.user_state_layout import MAX_ID_BYTES, pack_event

_ROWS = 10_000
State = tuple[str, list[tuple[int, bytes]], Mapping[str, str]]


def states_of(folder: Path, windows: BehaviorWindows, profiles_only: bool = False) -> Iterator[State]:
    """The users of an ingestion's output: id, packed events by epoch milliseconds, and profile.

    Args:
      folder: that ingestion wrote.
      windows: the behavior windows.
      profiles_only: whether to leave out the events.

    Raises:
      InputError: if the folder is none of ingestion's.
    """
    path, end = folder / "user_state.parquet", _end_of(folder)
    check_exists(path)
    try:
        scan = scan_user_states(path)
        total = scan.select(pl.len()).collect().item()
        for first in range(0, total, _ROWS):
            for row in scan.slice(first, _ROWS).collect().iter_rows(named=True):
                if len(row[features.USER_ID].encode()) <= MAX_ID_BYTES:
                    yield row[features.USER_ID], [] if profiles_only else _events(row, windows, end), _profile(row)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error


def _end_of(folder: Path) -> int:
    try:
        return int(json.loads((folder / INGESTION_FILE).read_text())["end_ms"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{folder} has no {INGESTION_FILE} that says when its log ended ({error}), so it is no folder that "
            "`souk run` or `souk ingest` wrote"
        ) from error


def _events(row: Mapping[str, Any], windows: BehaviorWindows, end: int) -> list[tuple[int, bytes]]:
    events: list[tuple[int, bytes]] = []
    for one in windows.lists():
        values: Sequence[str] = row.get(one.name) or ()
        for place, value in enumerate(values[: one.cap]):
            # What a list of any kind leaves open is most often a click.
            before = one.until_ms + 1 + place * (one.since_ms - one.until_ms - 1) // max(len(values), 1)
            events.append((end - before, pack_event(one.kinds[0], f"{one.name}/{place}", value, with_request=True)))
    return events


def _profile(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        name.removeprefix(features.PROFILE_PREFIX): str(value)
        for name, value in row.items()
        if name.startswith(features.PROFILE_PREFIX) and value is not None
    }

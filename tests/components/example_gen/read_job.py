"""Reads and validates the inputs of a planned job in this process, without Beam and without files between."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from components.example_gen.catalog import validate_items
from components.example_gen.inputs import read_rows
from components.example_gen.job import CATALOG, USERS, IngestJob, reading_of
from components.example_gen.validate import validate_events, validate_users
from schema.features import EventType


@dataclass
class Read:
    """The usable rows of an input, as tuples of its columns, and why the others are none."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)


def read_job(job: IngestJob) -> dict[str, Read]:
    """What is read of each input; lists as tuples, event types by name."""
    config = job.config
    found: dict[str, Read] = {}
    for split in job.input_splits:
        read = found.setdefault(split.kind, Read())
        reasons = Counter(read.reasons)
        for batch in read_rows(split.source, reading_of(split.kind, config)):
            if split.kind == CATALOG:
                good, bad, _ = validate_items(batch.frame, 0, config.data.catalog_columns)
            elif split.kind == USERS:
                good, bad = validate_users(batch.frame, config.data.profile_columns, 0)
            else:
                good, bad, _ = validate_events(batch.frame, 0, 512)
                good = good.with_columns(event_type=good["event_type"].replace_strict(dict(enumerate(EventType.ALL))))
            reasons.update(bad["reason"].to_list())
            reasons.update(reason for reason, _ in batch.rejects)
            rows = good.drop("file").rows()
            read.rows += [tuple(tuple(v) if isinstance(v, list) else v for v in row) for row in rows]
        read.reasons = dict(reasons)
    return found

"""What every reader gives."""

from dataclasses import dataclass, field

import polars as pl


@dataclass(frozen=True)
class Block:
    """A run of rows: `frame` has the asked-for columns, `rejects` what is no row, as (reason, raw text)."""

    frame: pl.DataFrame
    rejects: list[tuple[str, str]] = field(default_factory=list)

"""Reads a shop's catalog file, with ingestion's own readers, as the catalog that evaluation takes."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from components.example_gen.catalog import item_columns, one_row_per_item, validate_items
from components.example_gen.columns import catalog_schema
from components.example_gen.config import IngestConfig
from components.example_gen.encode import encode_examples
from components.example_gen.inputs import read_rows, split_inputs
from components.example_gen.job import CATALOG, catalog_inputs, reading_of
from components.example_gen.validate import BAD_ROW_REASONS
from schema.settings import DataError, InputError

if TYPE_CHECKING:
    from evaluation.eval_set import EvalCatalog

_REASONS_SHOWN = 3


@dataclass(frozen=True)
class CatalogFile:
    """The usable items, and how many rows were not.

    Attributes:
      items: by id.
      unusable_rows: for one of `BAD_ROW_REASONS` or since their id repeats.
      repeated_rows: of these, the latter.
    """

    items: pl.DataFrame
    unusable_rows: int
    repeated_rows: int = 0

    def check(self, max_bad_fraction: float) -> None:
        """Refuses a catalog of which too many rows cannot be used, repeated ones not counted.

        Raises:
          DataError: there are more than `max_bad_fraction`.
        """
        bad = self.unusable_rows - self.repeated_rows
        read = len(self.items) + self.unusable_rows
        if bad > max_bad_fraction * read:
            raise DataError(
                f"{bad:,} of {read:,} rows of `catalog` ({bad / read:.1%}) cannot be used; max_bad_fraction allows "
                f"{max_bad_fraction:.1%}. `souk refresh` says why, and shows some. Correct the input, or raise "
                "max_bad_fraction if this much loss is expected."
            )

    @property
    def item_ids(self) -> list[str]:
        """Ids of the usable items, in the order of the catalog's rows."""
        return self.items["item_id"].to_list()

    @cached_property
    def catalog(self) -> "EvalCatalog":
        """The usable items as evaluation takes them."""
        # It loads TensorFlow, without which a file is read and checked.
        from evaluation.eval_set import parse_catalog

        return parse_catalog(encode_examples(item_columns(self.items)))


def read_catalog_file(pattern: str | None, config: IngestConfig | None = None) -> CatalogFile:
    """The catalog in a file or files (JSONL, CSV, Parquet; the texts also as .gz), as ingestion reads it.

    Args:
      pattern: names the files; None for those of `config`.
      config: says which columns are read, and what they are called; by default Souk's own.

    Raises:
      InputError: no such file, an unknown format, a column that is not there, or no usable item.
    """
    if config is None:
        config = IngestConfig.parse({"data": {"events": pattern, "catalog": pattern}})
    elif pattern is not None:
        config = config.model_copy(update={"data": config.data.model_copy(update={"catalog": (pattern,)})})
    own = config.for_catalog()
    columns, reading = own.data.catalog_columns, reading_of(CATALOG, own)
    inputs, _ = catalog_inputs(own)
    reasons: Counter[str] = Counter()
    frames = [catalog_schema(columns).to_frame()]
    for split in split_inputs(inputs, reading):
        for batch in read_rows(split, reading):
            usable, bad, _ = validate_items(batch.frame, 0, columns, own.max_text_characters)
            reasons.update(bad["reason"].to_list())
            reasons.update(reason for reason, _ in batch.rejects)
            frames.append(usable)
    items, repeated = one_row_per_item(pl.concat(frames))
    if items.is_empty():
        told = "; ".join(
            f"{count:,} {reason}: {BAD_ROW_REASONS[reason]}" for reason, count in reasons.most_common(_REASONS_SHOWN)
        )
        raise InputError(
            f"the catalog {', '.join(own.data.catalog)} holds no usable item among its {reasons.total():,} rows. {told}"
        )
    return CatalogFile(items, reasons.total() + len(repeated), len(repeated))

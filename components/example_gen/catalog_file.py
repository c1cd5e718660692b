"""Reads a shop's catalog file, with ingestion's own readers, as the catalog that evaluation takes."""

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
from schema.settings import InputError

if TYPE_CHECKING:
    from evaluation.eval_set import EvalCatalog


@dataclass(frozen=True)
class CatalogFile:
    """The usable items, and how many rows were not: no id, no title, a bad price, an id that repeats."""

    items: pl.DataFrame
    unusable_rows: int

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
    unusable, frames = 0, [catalog_schema(columns).to_frame()]
    for split in split_inputs(inputs, reading):
        for batch in read_rows(split, reading):
            usable, bad, _ = validate_items(batch.frame, 0, columns, own.max_text_characters)
            unusable += len(bad) + len(batch.rejects)
            frames.append(usable)
    items, repeated = one_row_per_item(pl.concat(frames))
    if items.is_empty():
        raise InputError(
            f"the catalog {', '.join(own.data.catalog)} holds no usable item: all of its {unusable:,} rows lack an "
            "item_id or a title, or have a bad price"
        )
    return CatalogFile(items, unusable + len(repeated))

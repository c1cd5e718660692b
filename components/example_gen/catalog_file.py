"""Reads a shop's catalog file, with ingestion's own readers, as the catalog that evaluation takes."""

from dataclasses import dataclass

import polars as pl

from components.example_gen.catalog import item_columns, one_row_per_item, validate_items
from components.example_gen.columns import CATALOG, CATALOG_COLUMNS, REQUIRED_CATALOG_COLUMNS
from components.example_gen.encode import encode_examples
from components.example_gen.files import find_files, split_files
from components.example_gen.readers import columns_of, read_batches
from evaluation.eval_set import EvalCatalog, parse_catalog
from schema.settings import InputError


@dataclass(frozen=True)
class CatalogFile:
    """The usable items, and how many rows were not: no id, no title, a bad price, an id that repeats."""

    catalog: EvalCatalog
    unusable_rows: int


def read_catalog_file(pattern: str) -> CatalogFile:
    """The catalog in the file or files (JSONL, CSV, Parquet; the texts also as .gz) that `pattern` names.

    Raises:
      InputError: no such file, an unknown format, a column that is not there, or no usable item.
    """
    files = find_files((pattern,), "catalog")
    for file in files:
        if missing := [name for name in REQUIRED_CATALOG_COLUMNS if name not in columns_of(file)]:
            raise InputError(
                f"the catalog {file.path} has no column `{'`, `'.join(missing)}` (it has: "
                f"{', '.join(columns_of(file)) or 'none'}); a catalog needs "
                f"`{'` and `'.join(REQUIRED_CATALOG_COLUMNS)}`"
            )
    unusable, frames = 0, [CATALOG.to_frame()]
    for split in split_files(files):
        for batch in read_batches(split, CATALOG_COLUMNS):
            usable, bad = validate_items(batch.frame, files.index(split.file))
            unusable += len(bad) + len(batch.rejects)
            frames.append(usable)
    items, repeated = one_row_per_item(pl.concat(frames))
    if items.is_empty():
        raise InputError(
            f"the catalog {pattern} holds no usable item: all of its {unusable:,} rows lack an item_id or a "
            "title, or have a bad price"
        )
    return CatalogFile(parse_catalog(encode_examples(item_columns(items))), unusable + len(repeated))

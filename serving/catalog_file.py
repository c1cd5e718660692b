"""The shop's catalog file, opened whatever its format, for programs that show its items."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from schema import features
from schema.settings import InputError


def scan_catalog(path: Path, columns: Sequence[str]) -> pl.LazyFrame:
    """The rows of a file (.jsonl, .csv, .parquet; texts also as .gz), read when they are collected.

    Args:
      path: the file.
      columns: what may be wanted, the id among it; a text file gives all of them, the others what they have.

    Raises:
      InputError: if the format is not known, or there is no `item_id` column.
      OSError: if the file cannot be read; also a `polars.exceptions.PolarsError`.
    """
    scan = _scan(path, columns)
    found = scan.collect_schema().names()
    if features.ITEM_ID not in found:
        raise InputError(
            f"{path} has no column `{features.ITEM_ID}` (it has: {', '.join(found)}), "
            "so items cannot be looked up in it. Give the catalog that the model was trained on."
        )
    return scan


def unreadable(path: Path, error: Exception) -> InputError:
    """What to say when reading it failed."""
    return InputError(f"The catalog file {path} cannot be read: {error}")


def _scan(path: Path, columns: Sequence[str]) -> pl.LazyFrame:
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix in (".jsonl", ".ndjson", ".json"):
        # A line that is not JSON gives nulls: it is ingestion's to report, and must not hide the other items.
        line = pl.scan_lines(path, name="line").select(pl.col("line").str.strip_chars())
        return line.select(pl.col("line").str.json_path_match(f"$.{name}").alias(name) for name in columns)
    if suffix == ".csv":
        return pl.scan_csv(path, infer_schema=False)
    if suffix == ".parquet":
        return pl.scan_parquet(path)
    raise InputError(
        f"The format of the catalog file {path} is not known by its name. "
        "It must end in .jsonl, .ndjson, .json, .csv (each also with .gz) or .parquet."
    )

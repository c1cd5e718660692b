"""Titles, brands and prices of found items, out of the shop's catalog file, for people to read."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import polars as pl

from schema import features
from schema.settings import InputError
from serving.catalog_file import scan_catalog, unreadable

_SHOWN = (features.TITLE, features.BRAND, features.PRICE)


@dataclass(frozen=True)
class ItemDetails:
    """What is shown of an item; None for what the catalog does not say."""

    title: str | None = None
    brand: str | None = None
    price: str | None = None


def read_details(
    paths: Iterable[Path], item_ids: Collection[str], names: Mapping[str, str] = MappingProxyType({})
) -> dict[str, ItemDetails]:
    """Details of those of `item_ids` that the catalog's files (.jsonl, .csv, .parquet; texts also as .gz) hold.

    Args:
      paths: the files.
      item_ids: of the items.
      names: what the files call the columns that they call otherwise.

    Raises:
      InputError: if a file is missing or unreadable, of an unknown format, or without an `item_id` column.
    """
    found: dict[str, ItemDetails] = {}
    for path in paths:
        wanted = set(item_ids) - found.keys()
        if wanted:
            found |= _read(path, wanted, names)
    return found


def _read(path: Path, item_ids: Collection[str], names: Mapping[str, str]) -> dict[str, ItemDetails]:
    if not path.is_file():
        raise InputError(f"There is no catalog file {path}. Check the path given with --catalog.")
    try:
        table = scan_catalog(path, (features.ITEM_ID, *_SHOWN), names)
        columns = table.collect_schema().names()
        shown = [pl.col(name).cast(pl.String) for name in (features.ITEM_ID, *_SHOWN) if name in columns]
        rows = table.select(shown).filter(pl.col(features.ITEM_ID).is_in(list(item_ids))).collect().to_dicts()
    # A compressed file that is cut off gives an OSError.
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
    return {row[features.ITEM_ID]: ItemDetails(**{name: row.get(name) for name in _SHOWN}) for row in rows}

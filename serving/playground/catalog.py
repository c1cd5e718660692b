"""The shop's catalog in memory: what is shown of found items, and what they can be filtered by."""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from schema import features
from schema.categories import category_path
from schema.settings import InputError
from serving.catalog_file import scan_catalog, unreadable

# The catalog's own column of the path, as a list, the JSON text of one, or "A > B > C".
_CATEGORY: Final = "category"
_COLUMNS: Final = (features.ITEM_ID, features.TITLE, features.BRAND, _CATEGORY, features.SHOP, features.PRICE)
_SEPARATOR: Final = features.CATEGORY_SEPARATOR
# Before the names of further columns, one of which may be called as an attribute of Item is.
_FURTHER: Final = "further/"
SHOWN_CHARACTERS: Final = 200


@dataclass(frozen=True)
class Item:
    """What is shown of an item; None for what the catalog does not say.

    Attributes:
      category: names from the root down, joined by `schema.features.CATEGORY_SEPARATOR`.
      further: the beginnings of other columns' values, by column.
    """

    title: str | None = None
    brand: str | None = None
    category: str | None = None
    shop: str | None = None
    price: float | None = None
    further: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CatalogLayout:
    """What is read of a catalog's files.

    Attributes:
      names: what the files call the columns that they call otherwise.
      further: columns that are shown beside Souk's own.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    further: tuple[str, ...] = ()


_SOUKS_OWN: Final = CatalogLayout()


class ItemCatalog:
    """Items by id, and the brands and categories among them."""

    def __init__(self, table: pl.DataFrame) -> None:
        self._table = table
        self.brands = _counted(table[features.BRAND])
        self.categories = _nodes(_counted(table[_CATEGORY]))

    def __len__(self) -> int:
        return len(self._table)

    def items(self, item_ids: Collection[str]) -> dict[str, Item]:
        """Those of `item_ids` that the catalog has."""
        rows = self._table.filter(self._table[features.ITEM_ID].is_in(list(item_ids)))
        return {row.pop(features.ITEM_ID): _item(row) for row in rows.iter_rows(named=True)}


class CatalogReader:
    """Reads a catalog beside the work that does not need it yet.

    Args:
      paths: files of the catalog; none at all is a shop without one.
      layout: what is read of them.

    Raises:
      InputError: if one of them is missing.
    """

    def __init__(self, paths: Sequence[Path], layout: CatalogLayout = _SOUKS_OWN) -> None:
        for path in paths:
            if not path.is_file():
                raise InputError(f"There is no catalog file {path}. Check the path given with --catalog.")
        self._reading: Future[ItemCatalog] | None = None
        if paths:
            self._reading = Future()
            # Not a pool's thread: Python would wait for it when told to stop, and a large catalog takes a while.
            args = (self._reading, paths, layout)
            threading.Thread(target=self._read, args=args, name="catalog", daemon=True).start()

    @staticmethod
    def _read(reading: Future[ItemCatalog], paths: Sequence[Path], layout: CatalogLayout) -> None:
        try:
            reading.set_result(read_catalog(paths, layout))
        except InputError as error:
            reading.set_exception(error)
        except Exception as error:
            named = InputError(f"The catalog cannot be read: {error}")
            named.__cause__ = error
            reading.set_exception(named)

    def get(self, wait_s: float) -> ItemCatalog | None:
        """The catalog; None if there is none, or if it is still being read after `wait_s` seconds.

        Raises:
          InputError: if it cannot be read.
        """
        if self._reading is None:
            return None
        try:
            return self._reading.result(wait_s)
        except NotYetError:
            return None

    def state(self) -> dict[str, Any]:
        """`state` is one of absent, reading, ready, failed; with the number of items, or with the error."""
        if self._reading is None:
            return {"state": "absent"}
        if not self._reading.done():
            return {"state": "reading"}
        try:
            return {"state": "ready", "items": len(self._reading.result())}
        except InputError as error:
            return {"state": "failed", "error": str(error)}


def read_catalog(paths: Iterable[Path], layout: CatalogLayout = _SOUKS_OWN) -> ItemCatalog:
    """The catalog in files (.jsonl, .csv, .parquet; texts also as .gz); of two rows of one id the last one counts.

    Raises:
      InputError: if a file is unreadable, of an unknown format, or without an `item_id` column.
    """
    table = pl.concat([_read(path, layout) for path in paths])
    return ItemCatalog(table.unique(features.ITEM_ID, keep="last", maintain_order=True))


def _item(row: dict[str, Any]) -> Item:
    further = {name.removeprefix(_FURTHER): value for name, value in row.items() if name.startswith(_FURTHER) and value}
    return Item(**{name: value for name, value in row.items() if not name.startswith(_FURTHER)}, further=further)


def _read(path: Path, layout: CatalogLayout) -> pl.DataFrame:
    try:
        scan = scan_catalog(path, (*_COLUMNS, *layout.further), layout.names)
        types = scan.collect_schema()
        joined = [
            _as_json(name)
            if name == _CATEGORY or not isinstance(kind, pl.List) or kind.inner.is_nested()
            else pl.col(name).cast(pl.List(pl.String)).list.join(", ")
            for name, kind in types.items()
            if kind.is_nested()
        ]
        found = {
            name: (pl.col(name) if name in types else pl.lit(None)).cast(pl.String)
            for name in (*_COLUMNS, *layout.further)
        }
        table = (
            scan.with_columns(joined)
            .select(
                *(found[name].alias(name) for name in _COLUMNS),
                *(_beginning(found[name]).alias(_FURTHER + name) for name in layout.further),
            )
            .collect()
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
    # There are far fewer categories than items, so only the distinct texts are parsed.
    texts = table[_CATEGORY].unique().drop_nulls()
    paths = [_SEPARATOR.join(category_path(text) or ()) or None for text in texts]
    return table.filter(pl.col(features.ITEM_ID).is_not_null()).with_columns(
        pl.col(_CATEGORY).replace_strict(texts, paths, default=None, return_dtype=pl.String),
        pl.col(features.PRICE).cast(pl.Float64, strict=False),
    )


def _as_json(name: str) -> pl.Expr:
    encoded = pl.struct(pl.col(name).alias("c")).struct.json_encode()
    return encoded.str.slice(len('{"c":')).str.strip_suffix("}").replace("null", None).alias(name)


def _beginning(text: pl.Expr) -> pl.Expr:
    """The first of a text, or of what a JSON list holds."""
    values = text.str.strip_chars('[]"').str.replace_all(r'",\s*"', ", ")
    return pl.when(text.str.starts_with('["')).then(values).otherwise(text).str.slice(0, SHOWN_CHARACTERS)


def _counted(column: "pl.Series") -> list[tuple[str, int]]:
    """Distinct values with how often they are there, most frequent first."""
    counts = column.drop_nulls().value_counts().sort("count", column.name, descending=[True, False])
    return [(value, count) for value, count in counts.iter_rows() if value]


def _nodes(leaves: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Every node of the category tree as a path from the root, with the items under it, in the tree's order."""
    counts: dict[tuple[str, ...], int] = {}
    for leaf, count in leaves:
        names = tuple(leaf.split(_SEPARATOR))
        for depth in range(1, len(names) + 1):
            counts[names[:depth]] = counts.get(names[:depth], 0) + count
    return [(_SEPARATOR.join(names), counts[names]) for names in sorted(counts)]

"""The catalog: validated items, one row per id, as examples."""

import re
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from components.example_gen.attributes import OBJECTS, attributes, values_of
from components.example_gen.columns import CATALOG, CATEGORY, FILE, catalog_schema
from components.example_gen.config import NO_COLUMNS, CatalogColumns
from components.example_gen.encode import single_values, value_lists
from components.example_gen.validate import first_problem
from schema import features

_TEXTS = ("item_id", "title", "brand", "shop")
_SINGLE = (features.TEXT_PREFIX, features.NUMERIC_PREFIX)
# Algolia's hierarchical categories: the path down to each level.
_LEVEL = re.compile(r"lvl\d+")


def validate_items(
    raw: pl.DataFrame, file_index: int, columns: CatalogColumns = NO_COLUMNS, max_text_characters: int = 10_000
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """Typed items out of text columns.

    Args:
      raw: the columns `CATALOG_COLUMNS`, text or null, and those of `columns`; `category` may be a list, the JSON text
        of one, or names joined by " > ".
      file_index: goes into the column `file`.
      columns: the further ones, see `attributes`.
      max_text_characters: as for `attributes`.

    Returns:
      The usable items (schema `columns.catalog_schema`), the unusable rows as they came with a `reason`, and the
      counters of the further columns.
    """
    # What is there but no number is wrong, what is not there is unknown.
    price_text = pl.col("price").str.strip_chars().replace("", None)
    typed = raw.with_columns([pl.col(name).str.strip_chars().replace("", None) for name in _TEXTS]).with_columns(
        _category_paths(raw[CATEGORY]).alias("category_path"),
        price=price_text.cast(pl.Float32, strict=False),
        has_price=price_text.is_not_null(),
        file=pl.lit(file_index, pl.Int32),
    )
    price = pl.col("price")
    reasons = first_problem(
        typed,
        [
            (pl.col("item_id").is_null(), "missing_item_id"),
            (pl.col("title").is_null(), "missing_title"),
            (pl.col("has_price") & (price.is_null() | ~price.is_finite()), "bad_price"),
            (price < 0, "negative_price"),
        ],
    )
    if reasons is None:
        items, bad = typed.select(CATALOG.names()), raw.clear().with_columns(reason=pl.lit(""))
    else:
        items = typed.filter(reasons.is_null()).select(CATALOG.names())
        bad = raw.filter(reasons.is_not_null()).with_columns(reason=reasons.drop_nulls())
        raw = raw.filter(reasons.is_null())
    counters = _lost_categories(raw[CATEGORY], items["category_path"])
    if not columns.names:
        return items, bad, counters
    further, counted = attributes(raw, columns, max_text_characters)
    return items.hstack(further).select(catalog_schema(columns).names()), bad, counters | counted


def one_row_per_item(items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Items sorted by id, and the repeated rows with a `reason`. Of several, the least by content is kept."""
    is_repeated = items["item_id"].is_duplicated()
    # Lists have no order of their own.
    content = [
        pl.col(name).list.join(features.CATEGORY_SEPARATOR) if kind == pl.List(pl.String) else pl.col(name)
        for name, kind in items.schema.items()
        if name != FILE
    ]
    repeated = items.filter(is_repeated).sort(*content, FILE)
    first = repeated["item_id"].is_first_distinct()
    kept = pl.concat([items.filter(~is_repeated), repeated.filter(first)]).sort("item_id")
    return kept, repeated.filter(~first).with_columns(reason=pl.lit("duplicate_item"))


def item_columns(items: pl.DataFrame) -> dict[str, pa.Array]:
    """The catalog features of `items` (schema `columns.catalog_schema`)."""
    path = items["category_path"]
    leaf = path.list.join(features.CATEGORY_SEPARATOR).replace("", None)
    columns = {
        features.ITEM_ID: items["item_id"],
        features.TITLE: items["title"],
        features.BRAND: items["brand"],
        features.LEAF_CATEGORY: leaf,
        features.TOP_CATEGORY: path.list.first(),
        features.SHOP: items["shop"],
        features.PRICE: items["price"],
    }
    columns |= {name: items[name] for name in items.columns if name.startswith(_SINGLE)}
    lists = {features.CATEGORY_PATH: path}
    lists |= {name: items[name] for name in items.columns if name.startswith(features.CATEGORICAL_PREFIX)}
    return {name: single_values(values) for name, values in columns.items()} | {
        name: value_lists(values) for name, values in lists.items()
    }


def _category_paths(category: pl.Series) -> pl.Series:
    """Lists of names from the root down, without empty names; an item without a category has an empty list."""
    if category.dtype == pl.List(pl.String):
        stripped = category.to_frame("path").select(
            pl.col("path").list.eval(pl.element().str.strip_chars().replace("", None).drop_nulls())
        )
        return stripped["path"].fill_null(pl.lit([], pl.List(pl.String)))
    # A catalog has far fewer categories than items, so only the distinct texts are read.
    texts = category.unique().drop_nulls()
    paths = pl.DataFrame(
        {"text": texts, "path": [_names(text) for text in texts]},
        schema={"text": pl.String, "path": pl.List(pl.String)},
    )
    joined = category.to_frame("text").join(paths, on="text", how="left", maintain_order="left")
    return joined.select(pl.col("path").fill_null(pl.lit([], pl.List(pl.String)))).to_series()


def _lost_categories(category: pl.Series, paths: pl.Series) -> dict[str, int]:
    """Counts the objects of which no path could be made."""
    if category.dtype != pl.String:
        return {}
    lost = int((category.str.starts_with("{") & (paths.list.len() == 0)).sum())
    return {f"{CATEGORY}.{OBJECTS}": lost} if lost else {}


def _names(text: str) -> list[str]:
    names: list[str | None] = list(text.split(features.CATEGORY_SEPARATOR.strip()))
    if text.lstrip().startswith(("[", "{")):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            # A list as Python writes it; or a name, which may begin with a bracket.
            value = values_of(text.strip())
        if isinstance(value, dict):
            return _names(_deepest(value))
        if isinstance(value, list) and any(isinstance(path, list) for path in value):
            # Several paths, of which an item has one.
            value = next((path for path in value if isinstance(path, list) and path), [])
        names = values_of(orjson.dumps(value).decode())
    return [name.strip() for name in names if name and name.strip()]


def _deepest(levels: dict[str, Any]) -> str:
    """The path of the deepest level, "" if these are no levels."""
    named = sorted((int(name[3:]), name) for name, path in levels.items() if _LEVEL.fullmatch(name) and path)
    path = levels[named[-1][1]] if named else ""
    path = path[0] if isinstance(path, list) else path
    return path if isinstance(path, str) else ""

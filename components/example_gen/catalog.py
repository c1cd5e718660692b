"""The catalog: validated items, one row per id, as examples."""

import orjson
import polars as pl
import pyarrow as pa

from components.example_gen.columns import CATALOG, CATEGORY, FILE
from components.example_gen.encode import single_values, value_lists
from components.example_gen.validate import first_problem
from schema import features

_TEXTS = ("item_id", "title", "brand", "shop")


def validate_items(raw: pl.DataFrame, file_index: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Typed items out of text columns.

    Args:
      raw: the columns `CATALOG_COLUMNS`, text or null; `category` may be a list, the JSON text of one, or
        names joined by " > ".
      file_index: goes into the column `file`.

    Returns:
      The usable items (schema `columns.CATALOG`) and the unusable rows as they came with a `reason`.
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
        return typed.select(CATALOG.names()), raw.clear().with_columns(reason=pl.lit(""))
    return (
        typed.filter(reasons.is_null()).select(CATALOG.names()),
        raw.filter(reasons.is_not_null()).with_columns(reason=reasons.drop_nulls()),
    )


def one_row_per_item(items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Items sorted by id, and the repeated rows with a `reason`. Of several, the least by content is kept."""
    order = items.with_columns(pl.col("category_path").list.join(features.CATEGORY_SEPARATOR).alias("_path"))
    order = order.sort("item_id", "title", "brand", "_path", "shop", "price", FILE).drop("_path")
    first = order["item_id"].is_first_distinct()
    return order.filter(first), order.filter(~first).with_columns(reason=pl.lit("duplicate_item"))


def item_columns(items: pl.DataFrame) -> dict[str, pa.Array]:
    """The catalog features of `items` (schema `columns.CATALOG`)."""
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
    encoded = {name: single_values(values) for name, values in columns.items()}
    return encoded | {features.CATEGORY_PATH: value_lists(path)}


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


def _names(text: str) -> list[str]:
    names: list[object] = list(text.split(features.CATEGORY_SEPARATOR.strip()))
    if text.lstrip().startswith("["):
        try:
            names = orjson.loads(text)
        except orjson.JSONDecodeError:
            # A name may begin with a bracket.
            names = [text]
    return [name.strip() for name in names if isinstance(name, str) and name.strip()]

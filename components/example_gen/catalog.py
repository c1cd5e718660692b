"""The catalog: validated items, one row per id, as examples."""

import polars as pl

from components.example_gen.attributes import attributes
from components.example_gen.clean import PROBLEMS, cleaned, joined
from components.example_gen.columns import CATALOG, CATEGORY, FILE, catalog_schema
from components.example_gen.config import NO_COLUMNS, CatalogColumns
from components.example_gen.encode import Column, single_values, value_lists
from components.example_gen.validate import first_problem
from schema import features
from schema.categories import category_path
from schema.values import numbers

_NAMES = ("title", "brand", "shop")
_SAYS_AVAILABLE = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
}
_SINGLE = (features.TEXT_PREFIX, features.NUMERIC_PREFIX)


def validate_items(
    raw: pl.DataFrame, file_index: int, columns: CatalogColumns = NO_COLUMNS, max_text_characters: int = 10_000
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """Typed items out of text columns.

    Args:
      raw: the columns `CATALOG_COLUMNS`, text or null, and those of `columns`; `category` may be a list, or what
        `category_path` reads.
      file_index: goes into the column `file`.
      columns: the further ones, see `attributes`.
      max_text_characters: as for `attributes`.

    Returns:
      The usable items (schema `columns.catalog_schema`), the unusable rows as they came with a `reason`, and the
      counters of the further columns.
    """
    # What is there but no number is wrong, what is not there is unknown.
    texts = cleaned(raw, ("item_id",), names=_NAMES, numbers=("price", "available"))
    typed = texts.with_columns(
        _category_paths(raw[CATEGORY]).alias("category_path"),
        numbers(texts["price"]),
        _available(texts["available"]),
        has_available=pl.col("available").is_not_null(),
        has_price=pl.col("price").is_not_null(),
        file=pl.lit(file_index, pl.Int32),
    )
    price = pl.col("price")
    reasons = first_problem(
        typed,
        [
            *PROBLEMS,
            (pl.col("item_id").is_null(), "missing_item_id"),
            (pl.col("title").is_null(), "missing_title"),
            (pl.col("has_price") & (price.is_null() | ~price.is_finite()), "bad_price"),
            (price < 0, "negative_price"),
            (pl.col("has_available") & pl.col("available").is_null(), "bad_available"),
            (pl.col("category_path").is_null(), "bad_category"),
        ],
    )
    if reasons is None:
        items, bad = _usable(typed), raw.clear().with_columns(reason=pl.lit(""))
    else:
        items = _usable(typed.filter(reasons.is_null()))
        bad = raw.filter(reasons.is_not_null()).with_columns(reason=reasons.drop_nulls())
        raw = raw.filter(reasons.is_null())
    if not columns.names:
        return items, bad, {}
    further, counters = attributes(raw, columns, max_text_characters)
    return items.hstack(further).select(catalog_schema(columns).names()), bad, counters


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


def item_columns(items: pl.DataFrame) -> dict[str, Column]:
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
    if not items["available"].all():
        columns[features.AVAILABLE] = items["available"].replace_strict(
            {False: "false"}, default=None, return_dtype=pl.String
        )
    columns |= {name: items[name] for name in items.columns if name.startswith(_SINGLE)}
    lists = {features.CATEGORY_PATH: path}
    lists |= {name: items[name] for name in items.columns if name.startswith(features.CATEGORICAL_PREFIX)}
    return {name: single_values(values) for name, values in columns.items()} | {
        name: value_lists(values) for name, values in lists.items()
    }


def _usable(typed: pl.DataFrame) -> pl.DataFrame:
    """The columns of `CATALOG`; an item of which nothing is said is available."""
    return typed.select(CATALOG.names()).with_columns(pl.col("available").fill_null(value=True))


def _available(texts: pl.Series) -> pl.Series:
    """What `available` says, in any case of letters; null where it says neither, and where it says nothing."""
    said = texts.str.to_lowercase()
    return said.replace_strict(_SAYS_AVAILABLE, default=None, return_dtype=pl.Boolean).alias("available")


def _category_paths(category: pl.Series) -> pl.Series:
    """The names of each item's category from the root down: [] for no category, null for one that cannot be read."""
    # A catalog has far fewer categories than items, so only the distinct texts are read.
    texts = joined(category).alias("text")
    distinct = texts.unique().drop_nulls()
    paths = pl.DataFrame(
        {"text": distinct, "path": [category_path(text) for text in distinct], "there": True},
        schema={"text": pl.String, "path": pl.List(pl.String), "there": pl.Boolean},
    )
    read = texts.to_frame().join(paths, on="text", how="left", maintain_order="left")
    none = pl.lit([], pl.List(pl.String))
    return read.select(pl.when(pl.col("there")).then("path").otherwise(none).alias("path")).to_series()

"""A shop over a given catalog file: what can be asked for is read off the catalog's own fields."""

import io
import json
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from marketplace.catalog import NONE, Catalog, launch_days, price_levels, standardized
from marketplace.config import CatalogSettings
from marketplace.engine import STOPWORDS, stem, words_of
from schema.categories import category_path
from schema.file_head import check_json_lines, csv_form, unpacked
from schema.settings import InputError
from schema.values import UNKNOWN_NAMES, UNKNOWN_NUMBERS, ids, known, numbers, without_nan, written_value

# From this share of the items in one category on, the catalog counts as one without categories.
ONE_CATEGORY_SHARE = 0.9
TITLE_WORDS = 14
COLOR_WORDS = 2
_REGIONS = 8
_HEAD_BYTES = 128 << 10


def read_catalog(settings: CatalogSettings, days: int, rng: np.random.Generator) -> Catalog:
    """The catalog of `settings.path`: JSONL, JSONL.GZ, CSV or Parquet with `item_id` and `title`.

    `brand`, `category` (as `schema.categories.category_path` reads it), `shop`, `price`, `color`, `rating` and
    `rating_count` are used where they are given; further columns are kept for display, `settings.ignored_columns` are
    dropped. Facets are stems of title and color words, in the order of the title. Which day an item goes on sale is
    drawn.

    Raises:
      InputError: no such file, a format that is not known, a missing column, or a row that cannot be an item.
    """
    rows = _checked(_read(Path(settings.path)), settings.path).drop(settings.ignored_columns, strict=False)
    items = len(rows)
    paths: dict[tuple[str, ...], int] = {}
    leaf = np.array([paths.setdefault(tuple(path), len(paths)) for path in rows["category"]], np.int32)
    brands: dict[str, int] = {}
    brand = np.array(
        [NONE if name is None else brands.setdefault(name, len(brands)) for name in rows["brand"]], np.int32
    )
    prices = rows["price"].to_numpy().astype(float)
    shops: dict[str | None, int] = {}
    shop = np.array([shops.setdefault(name, len(shops)) for name in rows["shop"]])
    facets, names, is_color = _facets(rows["title"].to_list(), rows["color"].to_list())
    available = launch_days(items, settings.new_items_share, days, rng)
    popularity = standardized(_numbers(rows, ("rating_count", "popularity"), np.log1p) + 0.3 * rng.normal(size=items))
    popularity[available > 0] = popularity.min()
    quality = standardized(_numbers(rows, ("rating",), lambda values: values) + rng.normal(size=items))
    style = rng.normal(size=(max(len(brands), 1), settings.style_dimensions)).astype(np.float32)
    return Catalog(
        rows=rows.drop("popularity", strict=False).with_columns(popularity=np.round(popularity.astype(float), 4)),
        leaf=leaf,
        brand=brand,
        shop_region=((shop if len(shops) > 1 else rng.integers(0, _REGIONS, items)) % _REGIONS).astype(np.int32),
        price_level=price_levels(prices, leaf, len(paths)),
        facets=facets,
        popularity=popularity,
        quality=quality,
        available_day=available,
        paths=tuple(paths),
        brand_names=tuple(brands) or ("",),
        brand_style=style / np.linalg.norm(style, axis=1, keepdims=True),
        facet_names=tuple(names),
        facet_is_taste=is_color,
        leaf_words=(),
        audience=(None,) * len(paths),
    )


def lack_of_categories(catalog: Catalog) -> str:
    """What logs over a catalog with no categories, or hardly any, cannot teach, in plain words; "" for all others."""
    items = np.bincount(catalog.leaf, minlength=len(catalog.paths))
    most = int(items.argmax())
    share = items[most] / catalog.items
    if share < ONE_CATEGORY_SHARE:
        return ""
    name = " > ".join(catalog.paths[most])
    same = f"the category {name!r}" if name else "no category"
    return (
        f"{items[most]:,} of the {catalog.items:,} items ({share:.0%}) have {same}. Searchers of a simulated shop want "
        "an item of one category, so theirs want anything: these logs teach a model little, and what is measured on "
        "them says little. Give the catalog a column `category`, or let `gate.data_note` say it in every report"
    )


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise InputError(f"there is no catalog file {path}; give a JSONL, JSONL.GZ, CSV or Parquet file")
    name = path.name.removesuffix(".gz")
    try:
        if path.stat().st_size == 0:
            return pl.DataFrame()
        if name.endswith((".jsonl", ".ndjson", ".json")):
            lines = unpacked(path.read_bytes(), str(path))
            check_json_lines(lines[:_HEAD_BYTES].splitlines(), str(path))
            return pl.read_ndjson(io.BytesIO(without_nan(lines)), infer_schema_length=None)
        if name.endswith((".csv", ".tsv")):
            data = unpacked(path.read_bytes(), str(path))
            form = csv_form(data[:_HEAD_BYTES])
            rows = pl.read_csv(
                data,
                infer_schema_length=None,
                # Else a brand 007 would be 7.
                schema_overrides=dict.fromkeys(("item_id", "title", "brand", "shop", "color"), pl.String),
                separator=form.delimiter,
                skip_lines=form.skipped_lines,
            )
            # A data frame writes its index as a column without a name.
            return rows.rename(str.strip).drop("", strict=False)
        if name.endswith(".parquet"):
            return pl.read_parquet(path)
    # polars panics at some Parquet files whose bytes are broken.
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        OSError,
        EOFError,
        zlib.error,
        UnicodeDecodeError,
    ) as error:
        raise InputError(f"{path} cannot be read as {Path(name).suffix[1:]}: {str(error).splitlines()[0]}") from None
    raise InputError(f"{path} is of no known kind; give a file named .jsonl, .jsonl.gz, .csv or .parquet")


def _checked(rows: pl.DataFrame, source: str) -> pl.DataFrame:
    """`rows` with every column that the shop uses, in its type."""
    if rows.is_empty():
        raise InputError(f"{source} holds no items; a shop needs something to sell")
    missing = [column for column in ("item_id", "title") if column not in rows.columns]
    if missing:
        raise InputError(
            f"{source} has no column {' and no column '.join(missing)}; it has {', '.join(rows.columns)}. "
            "Rename its columns to item_id, title, brand, category, shop, price"
        )
    titled = known(_one_text(rows["title"], source), UNKNOWN_NAMES).is_not_null()
    titles = rows["title"].cast(pl.String).set(~titled, None)
    rows = rows.with_columns(ids(_one_text(rows["item_id"], source))[0], titles)
    for column in ("item_id", "title"):
        blank = rows[column].is_null()
        if blank.any():
            raise InputError(f"{source}, item {blank.arg_true()[0] + 1}: `{column}` is empty; every item needs one")
    twice = rows.filter(pl.col("item_id").is_duplicated())["item_id"]
    if len(twice):
        raise InputError(f"{source} holds item_id {twice[0]!r} more than once; item ids must be unique")
    for column in ("brand", "shop", "color"):
        given = known(_one_text(rows[column], source), UNKNOWN_NAMES) if column in rows.columns else None
        rows = rows.with_columns(pl.lit(None, pl.String).alias(column) if given is None else given)
    return rows.with_columns(category=_paths(rows, source), price=_prices(rows, source))


def _one_text(values: pl.Series, source: str) -> pl.Series:
    """Stripped texts of a column.

    Raises:
      InputError: it holds lists or objects.
    """
    if not values.dtype.is_nested():
        texts = values.cast(pl.String).str.strip_chars()
        written = texts.filter(texts.str.contains(r"^[\[{]").fill_null(False))
        if all(isinstance(written_value(text), str) for text in written):
            return texts
    raise InputError(f"{source}: `{values.name}` holds lists or objects; give one text")


def _paths(rows: pl.DataFrame, source: str) -> pl.Series:
    if "category" not in rows.columns:
        return pl.Series([[]] * len(rows), dtype=pl.List(pl.String))
    paths = []
    for item, value in zip(rows["item_id"], rows["category"].to_list(), strict=True):
        path = category_path(value if isinstance(value, str) else json.dumps(value, default=str))
        if path is None:
            raise InputError(
                f"{source}, item {item!r}: `category` holds {value!r}; give a list of names from the root, or "
                "'A > B > C'"
            )
        paths.append(path)
    return pl.Series(paths, dtype=pl.List(pl.String))


def _prices(rows: pl.DataFrame, source: str) -> pl.Series:
    if "price" not in rows.columns:
        return pl.Series([None] * len(rows), dtype=pl.Float64)
    texts = known(_one_text(rows["price"], source), UNKNOWN_NUMBERS)
    prices = numbers(texts, pl.Float64)
    wrong = (prices.is_null() & texts.is_not_null()) | (prices < 0).fill_null(False)
    if wrong.any():
        row = wrong.arg_true()[0]
        raise InputError(
            f"{source}, item {rows['item_id'][row]!r}: the price {rows['price'][row]!r} is not a number from 0 up; "
            "leave it empty where it is not known"
        )
    return prices


def _numbers(rows: pl.DataFrame, columns: tuple[str, ...], scale) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The first of `columns` that is there, scaled and standardized, its mean where it is null; or zeros."""
    for column in columns:
        if column in rows.columns and rows[column].dtype.is_numeric():
            values = scale(rows[column].to_numpy().astype(float))
            known = np.isfinite(values)
            if known.any():
                return standardized(np.where(known, values, values[known].mean()))
    return np.zeros(len(rows))


def _facets(titles: list[str], colors: list[str | None]) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Stems of title and color words [items, words], the commonest word of each stem, and which name colors."""
    number: dict[str, int] = {}
    forms: list[Counter[str]] = []
    facets = np.full((len(titles), TITLE_WORDS + COLOR_WORDS), NONE, np.int32)
    color_count: Counter[int] = Counter()
    for row, (title, color) in enumerate(zip(titles, colors, strict=True)):
        wanted = _telling_words(title)[:TITLE_WORDS]
        tinted = _telling_words(color or "")[:COLOR_WORDS]
        own: list[int] = []
        for word in (*wanted, *tinted):
            facet = number.setdefault(stem(word), len(number))
            if facet == len(forms):
                forms.append(Counter())
            forms[facet][word] += 1
            if facet not in own:
                own.append(facet)
        facets[row, : len(own)] = own
        color_count.update(number[stem(word)] for word in tinted)
    names = [counted.most_common(1)[0][0] for counted in forms]
    return facets, names, np.array([color_count[facet] >= 3 for facet in range(len(names))], bool)


def _telling_words(text: str) -> list[str]:
    words = [word for word in words_of(text) if word not in STOPWORDS and (len(word) > 1)]
    return list(dict.fromkeys(words))

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketplace.catalog import NONE
from marketplace.config import CatalogSettings
from marketplace.engine import stem, words_of
from marketplace.given_catalog import read_catalog
from marketplace.presets import preset, with_overrides
from marketplace.simulation import World, build_world, simulate
from marketplace.wording import AMBIGUOUS, SYNONYM
from schema.settings import InputError

ROWS = [
    {"item_id": "1", "title": "Oak Desk", "brand": "Nordal", "category": ["Home", "Desks"], "price": 90.0},
    {"item_id": "2", "title": "Pine Desk", "brand": None, "category": ["Home", "Desks"], "price": None},
    {"item_id": "3", "title": "Red Lamp", "brand": "Lumo", "category": [], "price": 20.5},
]


def read(path: Path):
    return read_catalog(CatalogSettings(path=str(path)), 10, np.random.default_rng(0))


def as_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def esci_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    from tests.marketplace.conftest import ESCI_ITEMS

    if not ESCI_ITEMS.is_file():
        pytest.skip(f"needs the ESCI-150 catalog at {ESCI_ITEMS}")
    settings = with_overrides(
        preset("esci"), [f"catalog.path={ESCI_ITEMS}", "queries.intents=4000", "searchers.users=200", "searches=3000"]
    )
    return build_world(settings)


def test_numbers_of_csv_that_are_names_keep_their_zeros(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,brand,shop\n001,911,007,010\n002,912,1e5,\n")
    rows = read(tmp_path / "items.csv").rows
    assert rows.select("item_id", "title", "brand", "shop").rows() == [
        ("001", "911", "007", "010"),
        ("002", "912", "1e5", None),
    ]


def test_jsonl_gz_csv_and_parquet_give_the_same_shop(tmp_path: Path) -> None:
    jsonl = as_jsonl(tmp_path / "items.jsonl", ROWS)
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(jsonl.read_bytes()))
    frame = pl.DataFrame(ROWS)
    frame.write_parquet(tmp_path / "items.parquet")
    frame.with_columns(category=pl.col("category").list.join(" > ")).write_csv(tmp_path / "items.csv")
    text = "sep=;\n" + (tmp_path / "items.csv").read_text().replace(",", ";").replace("20.5", "20,5")
    (tmp_path / "excel.csv").write_text(text.replace("brand;", " brand ;"))
    expected = read(jsonl)
    for name in ("packed.jsonl.gz", "items.parquet", "items.csv", "excel.csv"):
        found = read(tmp_path / name)
        assert found.rows.select("item_id", "title", "brand", "category", "price").equals(
            expected.rows.select("item_id", "title", "brand", "category", "price")
        ), name
        assert found.paths == expected.paths == (("Home", "Desks"), ())
        assert np.array_equal(found.facets, expected.facets)
    assert expected.brand.tolist() == [0, NONE, 1]
    assert [expected.facet_names[facet] for facet in expected.facets[2] if facet != NONE] == ["red", "lamp"]


def test_further_columns_are_kept_and_ignored_ones_not_read(tmp_path: Path) -> None:
    rows = [{**row, "material": "wood", "esci_query_ids": [str(n)]} for n, row in enumerate(ROWS)]
    other = [{**row, "esci_query_ids": ["7", "8"]} for row in rows]
    one = read(as_jsonl(tmp_path / "one.jsonl", rows))
    two = read(as_jsonl(tmp_path / "two.jsonl", other))
    assert "material" in one.rows.columns
    assert "esci_query_ids" not in one.rows.columns
    assert one.rows.equals(two.rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no items"),
        ([{"item_id": "1"}], "no column title"),
        ([{"id": "1"}], "no column item_id and no column title"),
        ([ROWS[0], ROWS[0]], "item_id '1' more than once"),
        ([ROWS[0], {**ROWS[1], "title": "  "}], "item 2: `title` is empty"),
        ([{**ROWS[0], "item_id": None}, ROWS[1]], "item 1: `item_id` is empty"),
        ([ROWS[0], {**ROWS[1], "price": -1.0}], "item '2': the price -1.0 is not a number from 0 up"),
        ([{**ROWS[0], "price": "dear"}], "the price 'dear' is not a number"),
        ([{**ROWS[0], "category": {"en": "Home"}}], "`category` holds"),
        ([{**ROWS[0], "title": ["Oak", "Desk"]}], "`title` holds lists or objects; give one text"),
        ([{**ROWS[0], "brand": {"id": 1}}, ROWS[1]], "`brand` holds lists or objects"),
        ([{**ROWS[0], "price": [1.0]}], "`price` holds lists"),
    ],
)
def test_rows_that_cannot_be_sold_are_refused(tmp_path: Path, rows: list[dict], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(as_jsonl(tmp_path / "items.jsonl", rows))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no catalog file"):
        read(tmp_path / "none.csv")
    (tmp_path / "items.xlsx").write_text("x")
    with pytest.raises(InputError, match="of no known kind"):
        read(tmp_path / "items.xlsx")
    (tmp_path / "broken.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        read(tmp_path / "broken.parquet")
    (tmp_path / "broken.jsonl").write_bytes(b'{"item_id": "1", "title": \n')
    with pytest.raises(InputError, match="cannot be read as jsonl"):
        read(tmp_path / "broken.jsonl")
    (tmp_path / "latin.csv").write_bytes("item_id,title\n1,caf\xe9\n".encode("latin-1"))
    with pytest.raises(InputError, match="cannot be read as csv"):
        read(tmp_path / "latin.csv")


def test_a_shop_of_three_items_without_much_can_be_simulated(tmp_path: Path) -> None:
    bare = as_jsonl(tmp_path / "items.jsonl", [{"item_id": row["item_id"], "title": row["title"]} for row in ROWS])
    settings = with_overrides(preset("tiny"), [f"catalog.path={bare}", "days=5", "searches=200"])
    summary = simulate(settings, tmp_path / "shop")
    assert summary.items == 3
    assert summary.events_by_type["click"] > 0


def test_esci_queries_are_words_of_the_catalog_alone(esci_world: World) -> None:
    from marketplace.given_wording import PRICE_WORDS

    catalog = esci_world.catalog
    known = {stem(word) for words in PRICE_WORDS.values() for text in words for word in words_of(text)} | {"for"}
    columns = [catalog.rows["title"], catalog.rows["brand"], catalog.rows["color"]]
    for text in (text for column in columns for text in column if text):
        known |= {stem(word) for word in words_of(text)}
    known |= {stem(word) for path in catalog.paths for name in path for word in words_of(name)}
    assert len(esci_world.pool.texts) > 5_000
    foreign = {word for text in esci_world.pool.texts for word in words_of(text) if stem(word) not in known}
    assert foreign == set()


def test_esci_needs_are_met_and_some_are_worded_as_no_title_is(esci_world: World) -> None:
    kinds, counts = np.unique(esci_world.pool.wording_kind, return_counts=True)
    share = dict(zip(kinds, counts / counts.sum(), strict=True))
    assert share[SYNONYM] > 0.05
    assert share[AMBIGUOUS] > 0.01
    assert all(text.strip() for text in esci_world.pool.texts)


def test_esci_catalog_is_kept_whole(esci_world: World, esci_items: Path) -> None:
    given = pl.read_ndjson(esci_items, infer_schema_length=None)
    kept = esci_world.catalog.rows
    for column in ("item_id", "title", "brand", "category", "color", "price", "rating", "rating_count"):
        assert kept[column].to_list() == given[column].to_list(), column


@pytest.mark.parametrize("category", [[["Home", "Desks"], ["Sale"]], {"lvl0": "Home", "lvl1": "Home > Desks"}])
@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_a_catalog_is_read_as_ingestion_reads_it(tmp_path: Path, form: str, category: object) -> None:
    rows = [{"": n, "item_id": 22.0 + n, "title": "Desk", "brand": "nan", "category": category} for n in range(2)]
    rows[1] |= {"brand": "None", "price": 9.5}
    path = tmp_path / f"items.{form}"
    if form == "json":
        lines = "".join(json.dumps({"price": float("nan")} | row) + "\n" for row in rows)
        path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + lines.encode()))
    elif form == "csv":
        pl.DataFrame([row | {"category": str(category)} for row in rows]).write_csv(path)
    else:
        pl.DataFrame(rows).write_parquet(path)
    found = read(path).rows
    assert found.select("item_id", "brand", "category", "price").rows() == [
        ("22", None, ["Home", "Desks"], None),
        ("23", "None", ["Home", "Desks"], 9.5),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [(b'[{"item_id": 1}]', "one JSON array"), ('{"item_id": 1}'.encode("utf-16"), "is UTF-16"), (b"PK\x03\x04", "zip")],
)
def test_what_is_no_json_lines_is_told(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "items.jsonl").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "items.jsonl")


def test_the_cases_nested_categories_are_read_and_prices_told() -> None:
    path = Path(__file__).parents[2] / ".." / "shared" / "cases" / "simulate_nested_category" / "nested.jsonl"
    if not path.is_file():
        pytest.skip("the case is not at ../shared/cases/simulate_nested_category")
    with pytest.raises(InputError, match=r"the price '1,299\.00' is not a number"):
        read(path)

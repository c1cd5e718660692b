"""Whole ingestions from buckets and from tables, into buckets, set beside the same shop read from local files."""

from pathlib import Path

import pytest

from components.example_gen.ingest import run_ingest
from tests.cloud.shop import configured, download, put_shop, put_ubi, upload
from tests.components.example_gen.cloud.conftest import Cloud
from tests.components.example_gen.small_shop import Shop, make_shop, write_shop


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(60)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> tuple[Path, Path, dict[str, int]]:
    """The shop in files, what an ingestion makes of them, and what it counts."""
    folder = tmp_path_factory.mktemp("local")
    config = write_shop(folder / "in", shop)
    summary = run_ingest(config, str(folder / "out"))
    return folder / "in", folder / "out", summary.counters


def examples(folder: Path) -> dict[str, bytes]:
    """All that was written, by path, but what names its place or the time it took."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "summary.json" and path.parent.name != "dead_letters"
    }


def dead_letters(folder: Path) -> list[str]:
    return sorted(line for path in (folder / "dead_letters").iterdir() for line in path.read_text().splitlines())


def test_from_a_bucket_to_a_bucket_it_is_as_from_files_to_files(cloud: Cloud, local, tmp_path: Path) -> None:
    inputs, out, counters = local
    upload(cloud.storage, inputs, "shop", "logs")
    cloud.storage.put("shop", "logs/", b"")
    config = configured(
        {
            "events": "gs://shop/logs/events-*.jsonl",
            "catalog": "gs://shop/logs/catalog.jsonl",
            "users": "gs://shop/logs/users.jsonl",
            "profile_columns": ["region", "age"],
        }
    )
    cloud.storage.page = 5
    summary = run_ingest(config, "gs://shop/examples/1")
    cloud.storage.page = 1000
    download(cloud.storage, "shop", "examples/1", tmp_path)
    assert examples(tmp_path) == examples(out)
    assert summary.counters == counters
    assert [line.replace("gs://shop/logs", str(inputs)) for line in dead_letters(tmp_path)] == dead_letters(out)
    assert not [name for name in cloud.storage.names("shop") if "_work" in name or ".tmp-" in name]


def test_from_tables_it_is_as_from_files(cloud: Cloud, shop: Shop, local, tmp_path: Path) -> None:
    _, out, counters = local
    cloud.bigquery.breaks = 3
    summary = run_ingest(configured(put_shop(cloud.bigquery, shop)), str(tmp_path / "out"))
    assert examples(tmp_path / "out") == examples(out)
    assert summary.counters == counters
    assert '"file":"bigquery://shop-project.logs.events"' in dead_letters(tmp_path / "out")[0]


@pytest.mark.parametrize("as_json", [False, True])
def test_ubi_in_tables_is_as_ubi_in_files(cloud: Cloud, shop: Shop, local, tmp_path: Path, as_json: bool) -> None:
    _, out, _ = local
    data = put_shop(cloud.bigquery, shop)
    put_ubi(cloud.bigquery, shop, as_json)
    data |= {
        "events": "bigquery://shop-project.ubi.events",
        "ubi_queries": "bigquery://shop-project.ubi.queries",
        "events_format": "ubi",
    }
    run_ingest(configured(data), str(tmp_path / "out"))
    assert examples(tmp_path / "out") == examples(out)

import os

import pytest

from components.example_gen import fingerprint as module
from components.example_gen.config import IngestConfig
from components.example_gen.fingerprint import catalog_fingerprint, fingerprint
from schema.settings import InputError


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"1" * 5000)
    (tmp_path / "c.csv").write_bytes(b"items")
    return tmp_path


def _print(shop, **values: object) -> str:
    return fingerprint(
        IngestConfig.parse({"data": {"events": f"{shop}/*.jsonl", "catalog": f"{shop}/c.csv"}, **values})
    )


def test_the_same_content_written_anew_is_the_same(shop) -> None:
    before = _print(shop)
    os.utime(shop / "a.jsonl", (1, 1))
    assert _print(shop) == before


def test_a_moved_folder_of_the_same_files_is_the_same(shop) -> None:
    before = _print(shop)
    assert _print(shop.rename(shop.parent / "moved")) == before


def test_a_folder_that_holds_a_column_is_part_of_the_content(shop) -> None:
    def own() -> str:
        data = {"events": f"{shop}/*.jsonl", "catalog": f"{shop}/items/*/*.csv"}
        return fingerprint(IngestConfig.parse({"data": data}))

    (shop / "items" / "brand=Acme").mkdir(parents=True)
    (shop / "c.csv").rename(shop / "items" / "brand=Acme" / "c.csv")
    before = own()
    (shop / "items" / "brand=Acme").rename(shop / "items" / "brand=Bolt")
    assert own() != before


def test_any_change_is_seen(shop) -> None:
    seen = {_print(shop), _print(shop, eval_days=2)}
    (shop / "a.jsonl").write_bytes(b"1" * 4999 + b"2")
    seen.add(_print(shop))
    (shop / "b.jsonl").write_bytes(b"1")
    seen.add(_print(shop))
    (shop / "c.csv").write_bytes(b"other")
    seen.add(_print(shop))
    assert len(seen) == 5


def test_the_catalogs_fingerprint_ignores_the_log_and_the_day(shop) -> None:
    def own(catalog: str = "c.csv", **values: object) -> str:
        data = {"events": f"{shop}/*.jsonl", "catalog": f"{shop}/{catalog}"}
        return catalog_fingerprint(IngestConfig.parse({"data": data, **values}))

    before = own()
    (shop / "a.jsonl").write_bytes(b"2")
    assert own(date="2026-04-18", eval_start="2026-04-17T00:00:00Z") == before
    assert own(max_bad_fraction=0.5) != before
    (shop / "c.csv").write_bytes(b"other")
    assert own() != before
    (shop / "2026-04-18.csv").write_bytes(b"items")
    assert own("{date}.csv", date="2026-04-18") == own("2026-04-18.csv")


def test_a_large_file_is_told_by_samples_and_its_time_of_change(shop, monkeypatch) -> None:
    monkeypatch.setattr(module, "_WHOLE_BYTES", 100)
    monkeypatch.setattr(module, "_SAMPLE_BYTES", 10)
    os.utime(shop / "a.jsonl", (1000, 1000))
    before = _print(shop)
    assert _print(shop) == before
    os.utime(shop / "a.jsonl", (2000, 2000))
    assert _print(shop) != before


def test_a_missing_input_is_an_error(shop) -> None:
    (shop / "c.csv").unlink()
    with pytest.raises(InputError, match="no file matches"):
        _print(shop)

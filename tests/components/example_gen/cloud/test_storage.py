"""Every operation on paths, by Beam's file system and Google's own client over HTTP."""

import polars as pl
import pytest

from components.example_gen.columns import INTERACTIONS
from components.example_gen.files import create, find_files, open_raw, remove_tree
from components.example_gen.fingerprint import fingerprint
from components.example_gen.output_folder import replaced
from components.example_gen.partition import read_partition, write_partitions
from schema.settings import InputError
from tests.cloud.shop import configured
from tests.components.example_gen.cloud.conftest import Cloud


@pytest.fixture
def bucket(cloud: Cloud) -> dict:
    """The objects of the bucket `shop`, which is empty at first."""
    cloud.storage.buckets["shop"].clear()
    return cloud.storage.buckets["shop"]


def test_globs_find_objects_on_all_pages_but_no_folder_markers(cloud: Cloud, bucket: dict) -> None:
    for name in ("logs/", "logs/a.jsonl", "logs/b.csv", "logs/c.parquet", "logs/deep/d.jsonl.gz", "other/e.jsonl"):
        cloud.storage.put("shop", name, b"" if name.endswith("/") else b"x" * len(name))
    cloud.storage.page = 2
    found = find_files(("gs://shop/logs/**",), "events")
    cloud.storage.page = 1000
    assert [(file.path, file.size) for file in found] == [
        ("gs://shop/logs/a.jsonl", 12),
        ("gs://shop/logs/b.csv", 10),
        ("gs://shop/logs/c.parquet", 14),
        ("gs://shop/logs/deep/d.jsonl.gz", 20),
    ]
    assert [file.path for file in find_files(("gs://shop/logs/*.jsonl",), "events")] == ["gs://shop/logs/a.jsonl"]


def test_an_object_is_there_once_it_is_whole(bucket: dict) -> None:
    with create("gs://shop/new/file") as stream:
        stream.write(b"one")
        assert not bucket
    assert {name: kept.data for name, kept in bucket.items()} == {"new/file": b"one"}
    with create("gs://shop/new/file") as stream:
        stream.write(b"x" * (17 << 20))
    assert [len(kept.data) for kept in bucket.values()] == [17 << 20]


def test_an_object_whose_writing_fails_is_not_there(bucket: dict) -> None:
    def fail() -> None:
        with create("gs://shop/new/file") as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not bucket


def test_parts_of_an_object_are_read_without_the_rest(cloud: Cloud, bucket: dict) -> None:
    cloud.storage.put("shop", "long", bytes(range(256)) * 1000)
    with open_raw("gs://shop/long", ahead=100) as stream:
        stream.seek(-2, 2)
        assert stream.read() == b"\xfe\xff"
        stream.seek(256_00)
        assert stream.read(3) == b"\x00\x01\x02"
    with open_raw("gs://shop/long") as stream:
        assert stream.read() == bytes(range(256)) * 1000


def test_a_partition_costs_its_own_bytes_and_the_index(cloud: Cloud, bucket: dict) -> None:
    number = pl.int_range(100_000)
    rows = pl.select(
        user_id=pl.format("u{}", number % 5000),
        timestamp_ms=number,
        event_id=pl.format("event {}", number * 7919),
        event_type=number % 5,
        item_id=pl.format("i{}", number % 30_000),
    ).cast(dict(INTERACTIONS))
    refs = dict(write_partitions(rows, rows["user_id"], 50, "gs://shop/events.arrow"))
    whole = len(bucket["events.arrow"].data)
    before = cloud.storage.sent
    read = read_partition([refs[7]], INTERACTIONS)
    assert len(read) == refs[7].rows
    assert cloud.storage.sent - before < whole / 5


def test_a_folder_goes_with_all_that_is_in_it_and_nothing_else(cloud: Cloud, bucket: dict) -> None:
    for number in range(130):
        cloud.storage.put("shop", f"out/_work/{number}", b"x")
    cloud.storage.put("shop", "out/_worked", b"x")
    remove_tree("gs://shop/out/_work")
    assert list(bucket) == ["out/_worked"]
    remove_tree("gs://shop/out/_work")


def test_a_request_that_is_refused_for_a_moment_is_made_again(cloud: Cloud, bucket: dict) -> None:
    cloud.storage.put("shop", "a.jsonl", b"{}")
    cloud.storage.refusals = 1
    assert [file.path for file in find_files(("gs://shop/*.jsonl",), "events")] == ["gs://shop/a.jsonl"]
    assert cloud.storage.refusals == 0


def test_the_fingerprint_changes_with_an_object(cloud: Cloud, bucket: dict) -> None:
    def read() -> str:
        return fingerprint(configured({"events": "gs://shop/e*.jsonl", "catalog": "gs://shop/c.csv"}))

    cloud.storage.put("shop", "e1.jsonl", b"{}")
    cloud.storage.put("shop", "c.csv", b"item_id")
    seen = {read(), read()}
    cloud.storage.put("shop", "c.csv", b"item_ID")
    seen.add(read())
    cloud.storage.put("shop", "e2.jsonl", b"{}")
    seen.add(read())
    assert len(seen) == 3


def test_a_bucket_folder_that_an_ingestion_wrote_is_replaced(cloud: Cloud, bucket: dict) -> None:
    def write(name: str) -> None:
        with replaced("gs://shop/out/") as (folder, target):
            assert (folder, target) == ("gs://shop/out", "gs://shop/out")
            for path in (name, "summary.json"):
                with create(f"{folder}/{path}") as stream:
                    stream.write(b"{}")

    write("one")
    write("two")
    assert sorted(bucket) == ["out/summary.json", "out/two"]


def test_an_ingestion_that_fails_leaves_a_bucket_folder_empty(cloud: Cloud, bucket: dict) -> None:
    def fail() -> None:
        with replaced("gs://shop/out") as (folder, _), create(f"{folder}/half") as stream:
            stream.write(b"x")
            raise InputError("no")

    with pytest.raises(InputError, match="no"):
        fail()
    assert not bucket
    cloud.storage.put("shop", "out/someone.else", b"x")
    with pytest.raises(InputError, match=r"gs://shop/out holds objects that no ingestion wrote"):
        fail()
    assert list(bucket) == ["out/someone.else"]


def test_what_is_missing_or_forbidden_fails_without_stack_trace(cloud: Cloud, bucket: dict) -> None:
    with pytest.raises(
        InputError, match=r"^`events`: no file matches 'gs://shop/none\*'; check the path and the glob$"
    ):
        find_files(("gs://shop/none*",), "events")
    with pytest.raises(InputError, match=r"cannot look for 'gs://none/\*': there is no such thing \(.*bucket does not"):
        find_files(("gs://none/*",), "events")
    cloud.storage.forbidden.add("closed")
    with pytest.raises(InputError, match=r"the account may not \(.*it needs roles/storage\.objectViewer on the bucket"):
        find_files(("gs://closed/*",), "events")
    with pytest.raises(
        InputError, match=r"gs://shop/ is a whole bucket; name a folder in it, such as gs://shop/examples"
    ):
        replaced("gs://shop/").__enter__()
    with pytest.raises(InputError, match=r"gs://closed/out cannot be written to: .*roles/storage\.objectUser"):
        replaced("gs://closed/out").__enter__()

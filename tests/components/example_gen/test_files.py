import gzip

import pytest

from components.example_gen.files import FileSplit, InputFile, create, find_files, split_files
from schema.settings import InputError


def test_globs_find_each_file_once_in_order(tmp_path) -> None:
    for name in ("b.jsonl", "a.csv", "c.PARQUET", "d.jsonl.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"x") if name.endswith(".gz") else b"x")
    (tmp_path / "folder.jsonl").mkdir()
    files = find_files((f"{tmp_path}/*", f"{tmp_path}/a.csv"), "events")
    assert [(f.path.rpartition("/")[2], f.format, f.gzipped) for f in files] == [
        ("a.csv", "csv", False),
        ("b.jsonl", "jsonl", False),
        ("c.PARQUET", "parquet", False),
        ("d.jsonl.gz", "jsonl", True),
    ]


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path) -> None:
    with pytest.raises(InputError, match=r"`catalog`: no file matches .*nothing\*\.csv"):
        find_files((f"{tmp_path}/nothing*.csv",), "catalog")


@pytest.mark.parametrize("name", ["log.txt", "log", "log.parquet.gz", "log.json.zst"])
def test_an_unknown_format_is_an_error(tmp_path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match="no known format"):
        find_files((str(tmp_path / name),), "events")


def test_an_empty_file_is_an_error(tmp_path) -> None:
    (tmp_path / "log.jsonl").touch()
    with pytest.raises(InputError, match=r"log\.jsonl is empty"):
        find_files((str(tmp_path / "log.jsonl"),), "events")


def test_only_plain_json_lines_are_split() -> None:
    plain = InputFile("a.jsonl", "jsonl", gzipped=False, size=25)
    packed = InputFile("b.jsonl.gz", "jsonl", gzipped=True, size=25)
    assert split_files([plain, packed], 10) == [
        FileSplit(plain, 0, 10, 0),
        FileSplit(plain, 10, 20, 1),
        FileSplit(plain, 20, 25, 2),
        FileSplit(packed, 0, 25, 3),
    ]


def test_a_file_whose_writing_fails_is_not_there(tmp_path) -> None:
    def fail() -> None:
        with create(str(tmp_path / "new" / "file")) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_written_twice_holds_the_last(tmp_path) -> None:
    for text in (b"one", b"two"):
        with create(str(tmp_path / "file")) as stream:
            stream.write(text)
    assert (tmp_path / "file").read_bytes() == b"two"

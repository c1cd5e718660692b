import gzip
from pathlib import Path

import pytest

from components.example_gen.files import FileSplit, InputFile, create, find_files, open_stream, split_files
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


@pytest.mark.parametrize("pattern", ["e*.csv", "[x]/e*.csv", "*/ev.csv", "[x]"])
def test_a_relative_glob_is_looked_for_here(tmp_path, monkeypatch, pattern: str) -> None:
    for folder in (tmp_path, tmp_path / "[x]"):
        folder.mkdir(exist_ok=True)
        (folder / "ev.csv").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert len(find_files((pattern,), "events")) == 1


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path) -> None:
    with pytest.raises(InputError, match=r"`catalog`: no file matches .*nothing\*\.csv"):
        find_files((f"{tmp_path}/nothing*.csv",), "catalog")


def _names(folder, *patterns: str) -> list[str]:
    return [str(Path(file.path).relative_to(folder)) for file in find_files(tuple(patterns), "events")]


@pytest.fixture
def spark(tmp_path):
    """A folder as Spark writes one, beside what other writers leave."""
    folder = tmp_path / "spark" / "ev.json"
    (folder / "day=1").mkdir(parents=True)
    (folder / "_temporary").mkdir()
    for name in (
        "part-0.json",
        "day=1/part-1.json",
        "part-00002",
        ".part-0.json.crc",
        "_metadata",
        "_temporary/a.json",
    ):
        (folder / name).write_bytes(b"{}\n")
    for name in ("_SUCCESS", "part-3.json"):
        (folder / name).touch()
    (folder / "part-4.json.gz").write_bytes(gzip.compress(b""))
    return folder


@pytest.mark.parametrize("pattern", ["{}", "{}/", "{}/**", "{}/../*.json"])
def test_a_folder_is_all_its_files_that_are_not_hidden_or_empty(spark, pattern: str) -> None:
    found = [f"{spark}/{name}" for name in ("day=1/part-1.json", "part-0.json", "part-00002")]
    files = find_files((pattern.format(spark),), "events")
    assert [str(Path(file.path).resolve()) for file in files] == found
    assert {(file.format, file.gzipped) for file in files} == {("jsonl", False)}


def test_a_hidden_file_that_is_named_is_read(spark) -> None:
    assert _names(spark, f"{spark}/_metadata") == ["_metadata"]
    assert _names(spark, f"{spark}/_temp*/*.json") == ["_temporary/a.json"]
    (spark.parent / "_all.json").mkdir()
    (spark.parent / "_all.json" / "_no.json").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no file matches .*_no\.json and such, whose names begin with `_` or `\.`"):
        find_files((str(spark.parent / "_all.json"),), "events")


def test_a_folder_of_empty_files_is_an_error(tmp_path) -> None:
    (tmp_path / "ev.csv").mkdir()
    (tmp_path / "ev.csv" / "part-0.csv").touch()
    with pytest.raises(InputError, match=r"part-0\.csv is empty"):
        find_files((str(tmp_path / "ev.csv"),), "events")


@pytest.mark.parametrize("name", ["a [x].csv", "a*.csv", "[!a]?.csv", "Päth (1) [x]/b.csv"])
def test_a_path_that_exists_as_written_is_that_file(tmp_path, name: str) -> None:
    for path in (tmp_path / "ax.csv", tmp_path / "a x.csv", tmp_path / name):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert _names(tmp_path, f"{tmp_path}/{name}") == [name]
    if "/" in name:
        assert _names(tmp_path, f"{tmp_path}/{name.replace('b.csv', '*.csv')}") == [name]
        assert _names(tmp_path, f"{tmp_path}/{name.removesuffix('/b.csv')}") == [name]


def test_brackets_are_a_glob_where_no_such_path_exists(tmp_path) -> None:
    for name in ("a1.csv", "a2.csv", "a3.csv"):
        (tmp_path / name).write_bytes(b"x")
    assert _names(tmp_path, f"{tmp_path}/a[12].csv") == ["a1.csv", "a2.csv"]


def test_whether_a_file_is_gzipped_is_told_by_its_first_bytes(tmp_path) -> None:
    (tmp_path / "packed.csv").write_bytes(gzip.compress(b"id\na\n"))
    (tmp_path / "plain.csv.gz").write_bytes(b"id\na\n")
    files = find_files((f"{tmp_path}/*",), "events")
    assert [file.gzipped for file in files] == [True, False]
    for file in files:
        with open_stream(file) as stream:
            assert stream.read() == b"id\na\n"


@pytest.mark.parametrize("name", ["log.txt", "log", "log.parquet.gz", "log.json.zst"])
def test_an_unknown_format_is_an_error(tmp_path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match="no known format"):
        find_files((str(tmp_path / name),), "events")


def test_an_empty_file_is_an_error(tmp_path) -> None:
    (tmp_path / "log.jsonl").touch()
    with pytest.raises(InputError, match=r"log\.jsonl is empty"):
        find_files((str(tmp_path / "log.jsonl"),), "events")


def test_json_lines_are_split_by_bytes_or_gzipped_by_batches() -> None:
    plain = InputFile("a.jsonl", "jsonl", gzipped=False, size=25)
    packed = InputFile("b.jsonl.gz", "jsonl", gzipped=True, size=15)
    table = InputFile("c.csv", "csv", gzipped=False, size=25)
    assert split_files([plain, packed, table], 10) == [
        FileSplit(plain, 0, 10, 0),
        FileSplit(plain, 10, 20, 1),
        FileSplit(plain, 20, 25, 2),
        FileSplit(packed, 0, 15, 3, part=0, parts=2),
        FileSplit(packed, 0, 15, 4, part=1, parts=2),
        FileSplit(table, 0, 25, 5),
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

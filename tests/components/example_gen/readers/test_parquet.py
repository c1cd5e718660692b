import datetime
from contextlib import suppress
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from components.example_gen.clean import as_text
from components.example_gen.files import InputFile, find_files, split_files
from components.example_gen.readers import columns_of, read_batches
from schema.settings import InputError

NOON = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
NOON_MS = "1772366400000"


def _read(path, columns: tuple[str, ...]) -> tuple[pl.DataFrame, list]:
    (file,) = find_files((str(path),), "events")
    (batch,) = (batch for split in split_files([file]) for batch in read_batches(split, columns))
    return batch.frame, batch.rejects


@pytest.mark.parametrize(
    "column",
    [
        pa.array([NOON, None], pa.timestamp("us", tz="UTC")),
        pa.array([NOON.replace(tzinfo=None), None], pa.timestamp("ns")),
        pa.array([NOON, None], pa.timestamp("s", tz="Asia/Tokyo")),
        pa.array([int(NOON_MS), None], pa.int64()),
        pa.array([NOON_MS, None], pa.large_string()),
        pa.array([NOON_MS, None]).dictionary_encode(),
    ],
)
def test_timestamps_of_every_type_become_epoch_milliseconds(tmp_path, column: pa.Array) -> None:
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(pa.table({"timestamp": column, "n": [1, 2]}), path)
    frame, rejects = _read(path, ("timestamp", "n", "missing"))
    assert frame.rows() == [(NOON_MS, "1", None), (None, "2", None)]
    assert rejects == []


def test_decimals_keep_all_their_digits(tmp_path) -> None:
    path = tmp_path / "rows.parquet"
    long_id = Decimal(2**60 + 1)
    columns = {"item_id": pa.array([long_id, None], pa.decimal256(50, 0)), "price": pa.array([Decimal("19.50")] * 2)}
    pa.parquet.write_table(pa.table(columns), path)
    frame, _ = _read(path, ("item_id", "price"))
    assert frame.rows() == [("1152921504606846977", "19.50"), (None, "19.50")]


def test_lists_stay_lists(tmp_path) -> None:
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"category": [["A", "B"], None], "title": ["x", "y"]}).write_parquet(path)
    frame, _ = _read(path, ("title", "category"))
    assert frame.rows() == [("x", ["A", "B"]), ("y", None)]


def test_bytes_that_are_not_utf8_cost_one_row_even_beside_lists(tmp_path) -> None:
    path = tmp_path / "rows.parquet"
    query = pa.array([b"a", b"\xff", "鞋".encode(), None], pa.binary())
    pa.parquet.write_table(pa.table({"query": query, "n": [1, 2, 3, 4], "list": [["x"], ["y"], None, []]}), path)
    frame, rejects = _read(path, ("query", "list", "n", "missing"))
    assert frame.rows() == [("a", ["x"], "1", None), ("鞋", None, "3", None), (None, [], "4", None)]
    assert rejects == [("not_utf8", "\\xff,2")]


def test_bytes_of_one_length_are_texts_too(tmp_path) -> None:
    column = pa.array([b"ab", b"\xff\x00", None], pa.binary(2))
    pa.parquet.write_table(pa.table({"id": column}), tmp_path / "rows.parquet")
    frame, rejects = _read(tmp_path / "rows.parquet", ("id",))
    assert (frame["id"].to_list(), rejects) == (["ab", None], [("not_utf8", "\\xff\x00")])


def test_the_error_of_a_column_that_is_no_text_names_the_file(tmp_path) -> None:
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(pa.table({"category": pa.array([[b"\xff"]], pa.list_(pa.binary()))}), path)
    with pytest.raises(InputError, match=r"rows\.parquet cannot be read as Parquet"):
        _read(path, ("category",))


def test_what_is_no_parquet_file_is_an_error_that_names_it(tmp_path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"no parquet at all")
    with pytest.raises(InputError, match=r"rows\.parquet cannot be read as Parquet"):
        columns_of(InputFile(str(path), "parquet", gzipped=False, size=17))


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_whole_floats_are_written_as_whole_numbers(tmp_path, kind: pa.DataType) -> None:
    numbers = np.array([7, -2.5, np.nan, np.inf, 1024], kind.to_pandas_dtype())
    column = pa.concat_arrays([pa.array(numbers, kind), pa.nulls(1, kind)])
    pa.parquet.write_table(pa.table({"id": column}), tmp_path / "rows.parquet")
    assert _read(tmp_path / "rows.parquet", ("id",))[0]["id"].to_list() == ["7", "-2.5", None, "inf", "1024", None]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_lists_of_whole_floats_are_whole_numbers(tmp_path, kind: pa.DataType) -> None:
    lists = [np.array([7, 2.5, np.nan], kind.to_pandas_dtype()), None, np.array([], kind.to_pandas_dtype())]
    pa.parquet.write_table(pa.table({"c": pa.array(lists, pa.list_(kind))}), tmp_path / "rows.parquet")
    assert _read(tmp_path / "rows.parquet", ("c",))[0]["c"].to_list() == [["7", "2.5", None], None, []]


@pytest.mark.parametrize(
    "column",
    [
        pa.nulls(1),
        pa.array([[None]]),
        pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string())),
        pa.array([datetime.timedelta(1)]),
        pa.array([datetime.time(1)]),
        pa.array([b"abcd"], pa.binary(4)),
        pa.array([[["a"]]], pa.list_(pa.list_(pa.string(), 1), 1)),
        pa.array([[{"a": b"\xff"}]]),
    ],
)
def test_a_column_of_any_type_gives_rows_or_a_sentence(tmp_path, column: pa.Array) -> None:
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(pa.table({"category": column, "n": [1]}), path)
    with suppress(InputError):
        frame, _ = _read(path, ("category", "n"))
        assert as_text(frame["category"], True, "c").dtype in (pl.String, pl.List(pl.String))


def test_a_long_id_as_a_floating_point_number_keeps_its_digits(tmp_path) -> None:
    column = pa.array([4006381333953.0, 1e300, None])
    pa.parquet.write_table(pa.table({"id": column}), tmp_path / "rows.parquet")
    assert _read(tmp_path / "rows.parquet", ("id",))[0]["id"].to_list() == ["4006381333953", "1.0e+300", None]

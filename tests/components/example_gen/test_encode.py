import io

import numpy as np
import polars as pl
import pyarrow as pa
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.example_gen.encode import (
    Dictionary,
    Lists,
    TFRecordWriter,
    encode_examples,
    single_values,
    tfrecords,
    value_lists,
    varint,
)

texts = st.one_of(st.text(max_size=5), st.sampled_from(["", "鞋", "x" * 127, "x" * 128, "x" * 20_000]))
numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, 127, 128, 2**62]))
floats = st.floats(width=32, allow_nan=False)


def lists_of(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(st.one_of(st.none(), st.lists(values, max_size=4)), min_size=6, max_size=6)


@settings(max_examples=40, deadline=None)
@given(lists_of(texts), lists_of(numbers), lists_of(floats), st.integers(0, 3))
def test_examples_are_those_of_the_protobuf_encoder(text: list, number: list, real: list, skip: int) -> None:
    columns = {
        "text": pa.array(text, pa.large_list(pa.large_binary())),
        "number": pa.array(number, pa.large_list(pa.int64())),
        "a name of some length": pa.array(real, pa.large_list(pa.float32())),
    }
    columns = {name: column.slice(skip) for name, column in columns.items()}
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    expected = [tf.train.Example.FromString(e) for e in RecordBatchToExamplesEncoder().encode(batch)]
    encoded = [e for records in encode_examples(columns) for e in records]
    assert [tf.train.Example.FromString(e) for e in encoded] == expected
    # Its length is that of protobuf's own, so there is no byte too many.
    assert [len(e) for e in encoded] == [e.ByteSize() for e in expected]


def test_features_are_sorted_by_name_in_any_order_of_columns() -> None:
    columns = {name: single_values(pl.Series([name])) for name in ("b", "a", "c")}
    shuffled = {name: columns[name] for name in ("c", "b", "a")}
    assert list(encode_examples(columns)) == list(encode_examples(shuffled))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_a_varint_is_read_back_by_protobuf(number: int) -> None:
    assert tf.train.Int64List.FromString(b"\x08" + varint(number)).value == [number]


def test_tensorflow_parses_every_kind_of_feature_across_batches() -> None:
    """More rows than the encoder takes at once, so that slices of columns are encoded too."""
    rows = 5000
    columns = {
        "text": single_values(pl.Series([None if n % 3 == 0 else f"t{n}" for n in range(rows)])),
        "number": single_values(pl.Series(range(rows), dtype=pl.Int64)),
        "price": single_values(pl.Series([n / 2 for n in range(rows)], dtype=pl.Float32)),
        "lists": value_lists(
            pl.Series([[f"v{i}" for i in range(n % 4)] or None for n in range(rows)], dtype=pl.List(pl.String))
        ),
        "ints": value_lists(pl.Series([list(range(n % 3)) for n in range(rows)], dtype=pl.List(pl.Int64))),
        "coded": Lists(np.arange(rows + 1), np.arange(rows) % 2, Dictionary(pl.Series(["even", "odd"]))),
    }
    examples = [e for batch in encode_examples(columns) for e in batch]
    ragged = tf.io.RaggedFeature
    parsed = tf.io.parse_example(
        examples,
        {
            "text": tf.io.FixedLenFeature([], tf.string, ""),
            "number": tf.io.FixedLenFeature([], tf.int64),
            "price": tf.io.FixedLenFeature([], tf.float32),
            "lists": ragged(tf.string),
            "ints": ragged(tf.int64),
            "coded": ragged(tf.string),
        },
    )
    assert parsed["text"].numpy().tolist() == [b"" if n % 3 == 0 else f"t{n}".encode() for n in range(rows)]
    assert parsed["number"].numpy().tolist() == list(range(rows))
    assert parsed["price"].numpy().tolist() == [n / 2 for n in range(rows)]
    assert parsed["lists"].to_list() == [[f"v{i}".encode() for i in range(n % 4)] for n in range(rows)]
    assert parsed["ints"].to_list() == [list(range(n % 3)) for n in range(rows)]
    assert parsed["coded"].to_list() == [[b"odd" if n % 2 else b"even"] for n in range(rows)]


def test_a_list_feature_that_is_empty_everywhere_keeps_its_kind() -> None:
    (example,) = next(encode_examples({"ids": value_lists(pl.Series([[]], dtype=pl.List(pl.String)))}))
    assert tf.train.Example.FromString(example).features.feature["ids"].WhichOneof("kind") == "bytes_list"


def test_a_single_value_that_is_absent_has_no_kind() -> None:
    columns = {"brand": single_values(pl.Series([None], dtype=pl.String)), "id": single_values(pl.Series(["a"]))}
    assert isinstance(columns["brand"], pa.LargeListArray)
    (example,) = next(encode_examples(columns))
    assert tf.train.Example.FromString(example).features.feature["brand"].WhichOneof("kind") is None


def test_tensorflow_reads_what_was_written(tmp_path) -> None:
    columns = {"text": single_values(pl.Series(["", "a", "b" * 100_000, "鞋"]))}
    path = tmp_path / "some.tfrecord.gz"
    with path.open("wb") as stream, TFRecordWriter(stream) as writer:
        for _ in range(2):
            for records in tfrecords(columns):
                writer.write(records)
    written = [r.numpy() for r in tf.data.TFRecordDataset(str(path), compression_type="GZIP")]
    assert written == 2 * next(encode_examples(columns))


def test_equal_records_give_equal_bytes() -> None:
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        with TFRecordWriter(stream) as writer:
            for records in tfrecords({"text": single_values(pl.Series(["one", "two"]))}):
                writer.write(records)
    assert streams[0].getvalue() == streams[1].getvalue()

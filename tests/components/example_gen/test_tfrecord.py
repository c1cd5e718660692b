import io

import numpy as np
import polars as pl
import pyarrow as pa
import tensorflow as tf

from components.example_gen.behaviour import Lists
from components.example_gen.encode import coded_lists, encode_examples, single_values, value_lists
from components.example_gen.tfrecord import TFRecordWriter


def test_tensorflow_reads_what_was_written(tmp_path) -> None:
    records = [b"", b"a", b"b" * 100_000, "鞋".encode()]
    path = tmp_path / "some.tfrecord.gz"
    with path.open("wb") as stream, TFRecordWriter(stream) as writer:
        writer.write(records[:2])
        writer.write(records[2:])
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(path), compression_type="GZIP")] == records


def test_equal_records_give_equal_bytes() -> None:
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        with TFRecordWriter(stream) as writer:
            writer.write([b"one", b"two"])
    assert streams[0].getvalue() == streams[1].getvalue()


def test_tensorflow_parses_every_kind_of_feature_across_encoder_batches() -> None:
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
        "coded": coded_lists(Lists(np.arange(rows + 1), np.arange(rows) % 2, pl.Series(["even", "odd"]))),
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


def test_a_list_feature_keeps_its_kind_where_it_is_empty_everywhere() -> None:
    (example,) = next(encode_examples({"ids": value_lists(pl.Series([[]], dtype=pl.List(pl.String)))}))
    assert tf.train.Example.FromString(example).features.feature["ids"].WhichOneof("kind") == "bytes_list"


def test_a_single_value_that_is_absent_has_no_kind() -> None:
    columns = {"brand": single_values(pl.Series([None], dtype=pl.String)), "id": single_values(pl.Series(["a"]))}
    assert isinstance(columns["brand"], pa.LargeListArray)
    (example,) = next(encode_examples(columns))
    assert tf.train.Example.FromString(example).features.feature["brand"].WhichOneof("kind") is None

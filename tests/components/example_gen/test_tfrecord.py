import io

import tensorflow as tf

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

"""An examples artifact of the tiny retriever's catalog, as ingestion would write it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from schema import features
from souk_client.examples import Behavior, search_example
from souk_client.protos import example_pb2
from tests.serving import tiny_retriever

VERSION = 1
EVAL_REQUESTS = 40


def write_split(examples: Path, split: str, shard: int, records: list[bytes]) -> None:
    import tensorflow as tf

    folder = examples / f"Split-{split}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"data-{shard:05d}-of-00002.tfrecord.gz"
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for record in records:
            writer.write(record)


def search_record(number: int) -> bytes:
    query = tiny_retriever.TITLES[number % len(tiny_retriever.TITLES)]
    behavior = Behavior(history_queries=[query] * (number % 3), real_time_items=["v1-0"] * (number % 2))
    example = example_pb2.Example.FromString(search_example(query, f"u{number}", behavior))
    example.features.feature[features.ITEMS].bytes_list.value.append(b"v1-0")
    example.features.feature[features.STAGES].int64_list.value.append(3)
    example.features.feature[features.POSITIONS].int64_list.value.append(1)
    return example.SerializeToString()


def catalog_record(item_id: str, title: str) -> bytes:
    example = example_pb2.Example()
    example.features.feature[features.ITEM_ID].bytes_list.value.append(item_id.encode())
    example.features.feature[features.TITLE].bytes_list.value.append(title.encode())
    return example.SerializeToString()


@pytest.fixture(scope="session")
def examples_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    examples = tmp_path_factory.mktemp("examples")
    items = zip(tiny_retriever.item_ids(VERSION), tiny_retriever.TITLES, strict=True)
    catalog = [catalog_record(item_id, title) for item_id, title in items]
    for shard in (0, 1):
        requests = [search_record(number) for number in range(shard, EVAL_REQUESTS, 2)]
        write_split(examples, features.EVAL_SPLIT, shard, requests)
        write_split(examples, features.CATALOG_SPLIT, shard, catalog[shard::2])
    return str(examples)


@pytest.fixture(scope="session")
def candidate() -> Callable[[tiny_retriever.Flaw], Path]:
    """The SavedModel of a candidate with one flaw, or with "none"."""
    return lambda flaw: tiny_retriever.built(VERSION, flaw)

"""The questions that a candidate is asked: requests of the eval split, and the ones that break models."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import tensorflow as tf

from schema import features
from schema.artifacts import split_folder
from souk_client.protos import example_pb2

LONG_QUERY_CHARACTERS = 10_000

# What came of a request is known only afterwards; a candidate must answer without it.
_OUTCOME = (features.ITEMS, features.STAGES, features.POSITIONS)
_SHUFFLE_BUFFER = 4096


@dataclass(frozen=True)
class Question:
    """One request.

    Attributes:
      name: what it is, for the report.
      example: serialized search tf.Example.
      full: whether every place of the answer must hold an item, unless relevance control has left some out; a request
        without words may find less.
    """

    name: str
    example: bytes
    full: bool = True


def eval_questions(examples_uri: str, count: int, seed: int) -> list[Question]:
    """Up to `count` requests of the eval split, as a service would send them: without their outcome."""
    files = tf.io.gfile.glob(_pattern(examples_uri, features.EVAL_SPLIT))
    if not files:
        return []
    # Shards are read in turns, because one shard may hold one day or one group of users.
    records = (
        tf.data.Dataset.from_tensor_slices(sorted(files))
        .interleave(_read, cycle_length=16, deterministic=True)
        .shuffle(max(_SHUFFLE_BUFFER, count), seed=seed)
        .take(count)
    )
    return [
        Question(f"request {number} of the eval split", _without_outcome(record))
        for number, record in enumerate(records.as_numpy_iterator(), start=1)
    ]


def edge_questions(query: bytes) -> list[Question]:
    """Requests at the edge of what may come in, most of them around an ordinary `query`."""
    unknown = [b"souk-canary: no such item"]
    words = query + b" "
    long = words * (LONG_QUERY_CHARACTERS // len(words) + 1)
    return [
        Question("no user and no behavior", _example(query=query)),
        Question("relevance control", _example(query=query, control=b"on")),
        Question("relevance control with a value of no meaning", _example(query=query, control=b"\xffmaybe")),
        Question("a user never seen", _example(query=query, user_id=b"souk-canary: no such user")),
        Question("behavior of unknown items only", _example(query=query, behavior=unknown)),
        Question("a query of unknown words", _example(query=b"xqzzv qqvxj")),
        Question("a query of 10,000 characters", _example(query=long[:LONG_QUERY_CHARACTERS])),
        Question("a word of 10,000 characters", _example(query=b"x" * LONG_QUERY_CHARACTERS)),
        Question("a query beyond ASCII", _example(query="crème brûlée 跑步鞋 👟 щётка".encode())),
        Question("a query that is not UTF-8", _example(query=b"\xff\xfe shoes \xc3"), full=False),
        Question("an empty query", _example(query=b""), full=False),
        Question("no feature at all", _example(), full=False),
    ]


def query_of(example: bytes) -> bytes:
    """The query of a serialized search example; empty if it has none."""
    values = example_pb2.Example.FromString(example).features.feature[features.QUERY].bytes_list.value
    return values[0] if values else b""


def catalog_ids(examples_uri: str) -> frozenset[bytes]:
    """The ids of all items of the catalog split."""
    ids: set[bytes] = set()
    spec = {features.ITEM_ID: tf.io.FixedLenFeature([], tf.string)}
    for batch in _catalog(examples_uri).batch(4096):
        ids.update(tf.io.parse_example(batch, spec)[features.ITEM_ID].numpy().tolist())
    return frozenset(ids)


def catalog_examples(examples_uri: str, count: int) -> list[bytes]:
    """The first `count` serialized examples of the catalog split."""
    return list(_catalog(examples_uri).take(count).as_numpy_iterator())


def _catalog(examples_uri: str) -> tf.data.Dataset:
    files = tf.io.gfile.glob(_pattern(examples_uri, features.CATALOG_SPLIT))
    return _read(sorted(files)) if files else tf.data.Dataset.from_tensor_slices(tf.constant([], tf.string))


def _pattern(examples_uri: str, split: str) -> str:
    # A URI such as gs://bucket/path must keep its two slashes, which a path class would fold.
    return f"{examples_uri.rstrip('/')}/{PurePosixPath(split_folder(split), '*.gz')}"


def _read(files: str | list[str]) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(files, compression_type="GZIP")


def _without_outcome(record: bytes) -> bytes:
    example = example_pb2.Example.FromString(record)
    for name in _OUTCOME:
        example.features.feature.pop(name, None)
    return example.SerializeToString()


def _example(
    query: bytes | None = None,
    user_id: bytes | None = None,
    behavior: list[bytes] | None = None,
    control: bytes | None = None,
) -> bytes:
    example = example_pb2.Example()
    for name, values in _given(query, user_id, behavior, control):
        example.features.feature[name].bytes_list.value.extend(values)
    return example.SerializeToString()


def _given(
    query: bytes | None, user_id: bytes | None, behavior: list[bytes] | None, control: bytes | None
) -> Iterator[tuple[str, list[bytes]]]:
    if query is not None:
        yield features.QUERY, [query]
    if user_id is not None:
        yield features.USER_ID, [user_id]
    if behavior is not None:
        for name in features.BEHAVIOR_ITEM_FEATURES:
            yield name, behavior
    if control is not None:
        yield features.RELEVANCE_CONTROL, [control]

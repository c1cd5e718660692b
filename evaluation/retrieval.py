"""Asks a servable to find items in one of its ways: by vectors, by words, or by both."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from schema import features
from schema.features import Retrieval


def default_way(card: Mapping[str, Any]) -> str | None:
    """The way of retrieval that a servable takes unless a request says otherwise; None where it has but one."""
    way = card.get(features.RETRIEVAL)
    return way if way in Retrieval.ALL else None


def asked_for(way: str, examples: Sequence[bytes]) -> list[bytes]:
    """Serialized search examples that ask for a way of retrieval."""
    option = tf.train.Example()
    option.features.feature[features.RETRIEVAL].bytes_list.value.append(way.encode())
    # Of serialized messages, one after the other is both merged.
    serialized = option.SerializeToString()
    return [example + serialized for example in examples]

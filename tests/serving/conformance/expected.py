"""What the models under test answer, computed here by the same model."""

import functools

import tensorflow as tf

from tests.serving import tiny_retriever


@functools.cache
def model(version: int) -> tiny_retriever.TinyRetriever:
    return tiny_retriever.TinyRetriever(version=version, k=10, flaw="none")


def query_text(version: int, *queries: str) -> tuple[list[list[str]], list[list[float]]]:
    """Item ids and scores, both [batch, k]."""
    outputs = model(version).query_text(tf.constant(queries))
    ids = [[value.decode() for value in row] for row in outputs["item_ids"].numpy().tolist()]
    return ids, outputs["scores"].numpy().tolist()

"""No op of a request allocates as much as a table holds: a copy would cost each request what the vocabulary holds."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from components.index_builder.attributes import ItemAttributes
from components.index_builder.config import IndexConfig
from components.index_builder.inverted_file import InvertedFileIndex
from components.index_builder.search_index import ExactIndex, ScannIndex
from components.index_builder.servable import Servable
from schema import features, transformed
from tests.components.index_builder.conftest import lexicon_of
from tests.small_shop import ALL_CATALOG, serialize, small_shop
from trainer import artifact, query_evidence
from trainer.artifact import TrainedModel
from trainer.config import TrainerConfig
from trainer.input import SearchReader, read_requests
from trainer.item_table import ItemReader, ItemTable, read_item_table
from trainer.train import input_sizes

ITEMS, TERMS, VALUES, DIM, K = 5000, 40_000, 5000, 16, 20
# Less than the smallest of the large tables holds, and several times what a request of this size needs.
MOST_BYTES = ITEMS * DIM * 4 // 2
INDEXES = {
    "exact": ExactIndex,
    "scann": lambda vectors: ScannIndex(vectors, {"reorder": 2 * K}, K),
    "portable": lambda vectors: InvertedFileIndex(
        vectors, {"leaves": 50, "leaves_to_search": 5, "reorder": 2 * K}, K, seed=1
    ),
}
BEHAVIOR = {
    "query": [b"red kettle"],
    "history_queries": [b"blue lamp", b"green tent"],
    **{name: [b"red-kettle", b"i7", b"i8"] for name in features.BEHAVIOR_ITEM_FEATURES},
}
SEARCHES = {
    "plain": BEHAVIOR,
    "filtered": {**BEHAVIOR, features.FILTER_MIN_PRICE: [10.0], features.FILTER_MAX_PRICE: [12.0]},
    "controlled": {**BEHAVIOR, features.RELEVANCE_CONTROL: [b"on"]},
    "dense": {**BEHAVIOR, features.RETRIEVAL: [b"dense"]},
    "lexical": {**BEHAVIOR, features.RETRIEVAL: [b"lexical"]},
    "misspelled": {**BEHAVIOR, "query": [b"kettel"]},
}


def large_table(small: ItemTable) -> ItemTable:
    rows = np.append(np.arange(ITEMS) % small.size, small.size)
    ids = np.array([*small.item_ids, *(f"i{number}".encode() for number in range(small.size, ITEMS))])
    columns = {name: column[rows] for name, column in small.columns.items()}
    columns[transformed.ITEM_ROW] = np.append(np.arange(1, ITEMS + 1), 0).astype(np.int32)
    return ItemTable(ids, columns)


def save_servable(model_name: str, index_name: str, directory: str, scratch: str) -> None:
    """A servable of untrained towers whose tables are far larger than what a request reads of them."""
    shop = small_shop()
    config = TrainerConfig.parse(
        {"model": model_name, "embedding_dim": DIM, "dim": DIM, "hidden": [32]}
        | ({"attention_heads": 2} if model_name == "mgdspr" else {})
    )
    vocabulary = shop.transform.vocabulary_by_name(transformed.ITEM_IDS.name)
    sizes = input_sizes(shop.transform)
    table = large_table(read_item_table(ItemReader(config, tuple(sizes.columns)), shop.files("catalog"), vocabulary))
    sizes = replace(
        sizes,
        unigrams=TERMS,
        bigrams=TERMS,
        phrases=TERMS,
        items=ITEMS + 1,
        **dict.fromkeys(("brand", "leaf_category", "top_category", "shop"), VALUES),
    )
    towers = artifact.make_towers(config, sizes)
    reader = SearchReader(config, tuple(sizes.profile))
    artifact.build(towers, reader, table)
    requests = read_requests(reader, shop.files("train"), validation=False)
    understanding = query_evidence.learn(requests, table, sizes, config.query_understanding)
    model = TrainedModel(config, sizes, towers, table, shop.transform, {}, understanding)
    attributes = ItemAttributes(
        brands=np.full(ITEMS, b"brand"),
        category_paths=np.full(ITEMS, b"Home"),
        prices=np.arange(ITEMS, dtype=np.float32),
    )
    vectors = np.random.default_rng(0).standard_normal((ITEMS, DIM)).astype(np.float32)
    index = INDEXES[index_name](vectors)
    rows = np.arange(ITEMS, dtype=np.int32)
    # Pairs of neighbors are terms, too: one that all items share, and many that one item has.
    lexicon = lexicon_of([f"red kettle n{number} no{number * 7}".encode() for number in range(ITEMS)])
    Servable(model, table, index, rows, attributes, lexicon, IndexConfig(k=K), scratch).save(directory)


def largest_allocations(directory: str) -> dict[str, tuple[int, str]]:
    """By signature and request, the bytes of the op that allocates most and its name."""
    found = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], directory).signature_def
        calls = []
        for name, inputs in (
            *((features.SIGNATURE_DEFAULT, serialize(search)) for search in SEARCHES.values()),
            (features.SIGNATURE_QUERY_TEXT, b"red kettle"),
            (features.SIGNATURE_ENCODE_QUERY, serialize(BEHAVIOR)),
            (features.SIGNATURE_ENCODE_ITEMS, serialize(ALL_CATALOG[-1])),
        ):
            (fed,) = signatures[name].inputs.values()
            calls.append((name, [out.name for out in signatures[name].outputs.values()], {fed.name: [inputs]}))
        # Gathering from a variable makes each later read of all of it a copy, in whatever request that read is.
        for _, outputs, feed in calls:
            session.run(outputs, feed)
        for number, (name, outputs, feed) in enumerate(calls):
            traced = config_pb2.RunMetadata()
            session.run(outputs, feed, config_pb2.RunOptions(trace_level=config_pb2.RunOptions.FULL_TRACE), traced)
            allocated = [
                (sum(memory.total_bytes for memory in node.memory), node.node_name)
                for device in traced.step_stats.dev_stats
                for node in device.node_stats
            ]
            found[f"{name} {number}"] = max(allocated)
    return found


@pytest.mark.parametrize(
    ("model", "index"),
    [("two_tower", "exact"), ("dpsr", "scann"), ("mgdspr", "portable"), ("mmse", "exact")],
)
def test_no_op_of_a_request_copies_a_table(model, index, tmp_path):
    save_servable(model, index, str(tmp_path / "servable"), str(tmp_path))
    largest = largest_allocations(str(tmp_path / "servable"))
    assert {call: found for call, found in largest.items() if found[0] >= MOST_BYTES} == {}
    # The trace sees what ops allocate at all.
    assert all(found[0] > 0 for found in largest.values())

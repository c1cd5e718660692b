"""No op of a request allocates as much as a table holds, and no request runs more ops than it used to.

A copy of a table would cost each request what the vocabulary holds, and each op has a price of its own.
"""

from dataclasses import dataclass, replace
from pathlib import Path

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
from tests.small_shop import ALL_CATALOG, SmallShop, serialize
from trainer import artifact, query_evidence
from trainer.artifact import TrainedModel
from trainer.clicked_queries import with_clicked_words
from trainer.config import TrainerConfig
from trainer.input import SearchReader, read_requests
from trainer.item_table import ItemReader, ItemTable, read_item_table
from trainer.training_data import input_sizes

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
INDEX_OF = {"two_tower": "exact", "dpsr": "scann", "mgdspr": "portable", "mmse": "exact"}
# A tenth more than they are in tests, where TensorFlow optimizes no graph. The plain request, which says nothing of how
# it is answered, is hybrid.
MOST_OPS = {
    "two_tower": {"plain": 4140, "dense": 3720},
    "dpsr": {"plain": 4380, "dense": 3960, "lexical": 1310, "text": 3910},
    "mgdspr": {"plain": 5490, "dense": 5070},
    "mmse": {"plain": 4430, "dense": 4010},
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


def save_servable(shop: SmallShop, model_name: str, index_name: str, directory: str, scratch: str) -> None:
    """A servable of untrained towers whose tables are far larger than what a request reads of them."""
    config = TrainerConfig.parse(
        {"model": model_name, "embedding_dim": DIM, "dim": DIM, "hidden": [32]}
        | ({"attention_heads": 2} if model_name == "mgdspr" else {})
    )
    vocabulary = shop.transform.vocabulary_by_name(transformed.ITEM_IDS.name)
    sizes = input_sizes(shop.transform)
    small = read_item_table(ItemReader(config, tuple(sizes.columns)), shop.files("catalog"), vocabulary)
    table = large_table(with_clicked_words(small, [], sizes.unigrams, config.clicked_units))
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


@dataclass(frozen=True)
class Traced:
    """A servable of large tables, and what its ops did.

    Attributes:
      directory: of the SavedModel.
      largest: by signature and request, the bytes of the op that allocates most and its name.
      ops: by signature and request, how many ops it ran.
      answers: by request, the item ids and what relevance control did.
    """

    directory: str
    largest: dict[str, tuple[int, str]]
    ops: dict[str, int]
    answers: dict[str, dict[str, np.ndarray]]


def trace(shop: SmallShop, model: str, folder: Path) -> Traced:
    """Of a model with its index in `INDEX_OF`; the fixture `traced` makes it once."""
    directory = str(folder / "servable")
    save_servable(shop, model, INDEX_OF[model], directory, str(folder))
    calls = [
        *((search, features.SIGNATURE_DEFAULT, serialize(SEARCHES[search])) for search in SEARCHES),
        ("item", features.SIGNATURE_ENCODE_ITEMS, serialize(ALL_CATALOG[-1])),
    ]
    if model == "dpsr":
        # Their graphs are parts of that of the search, whatever the model.
        calls.append(("text", features.SIGNATURE_QUERY_TEXT, b"red kettle"))
        calls.append(("query", features.SIGNATURE_ENCODE_QUERY, serialize(BEHAVIOR)))
    largest, ops, answers = {}, {}, {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], directory).signature_def

        def run(signature: str, value: bytes, *options: object) -> dict[str, np.ndarray]:
            (fed,) = signatures[signature].inputs.values()
            outputs = {name: output.name for name, output in signatures[signature].outputs.items()}
            return session.run(outputs, {fed.name: [value]}, *options)

        # Gathering from a variable makes each later read of all of it a copy, in whatever request that read is.
        for name, *call in calls:
            answers[name] = run(*call)
        for name, *call in calls:
            trace = config_pb2.RunMetadata()
            run(*call, config_pb2.RunOptions(trace_level=config_pb2.RunOptions.FULL_TRACE), trace)
            ops[name] = sum(len(device.node_stats) for device in trace.step_stats.dev_stats)
            largest[name] = max(
                (sum(memory.total_bytes for memory in node.memory), node.node_name)
                for device in trace.step_stats.dev_stats
                for node in device.node_stats
            )
    return Traced(directory, largest, ops, answers)


@pytest.mark.parametrize("model", MOST_OPS)
def test_usual_requests_run_few_ops(traced, model):
    ops = traced(model).ops
    assert {name: ops[name] for name, most in MOST_OPS[model].items() if ops[name] > most} == {}


@pytest.mark.parametrize("model", INDEX_OF)
def test_no_op_of_a_request_copies_a_table(traced, model):
    largest = traced(model).largest
    assert {call: found for call, found in largest.items() if found[0] >= MOST_BYTES} == {}
    # The trace sees what ops allocate at all.
    assert all(found[0] > 0 for found in largest.values())


@pytest.mark.parametrize("model", INDEX_OF)
def test_relevance_control_works_over_large_tables(traced, small_shop, model):
    answers = traced(model).answers
    flags = {name: answers[name][features.OUTPUT_RELEVANCE_CONTROL][0] for name in SEARCHES}
    assert flags == {name: b"applied" if name == "controlled" else b"off" for name in SEARCHES}
    ids = small_shop.transform.vocabulary_by_name(transformed.ITEM_IDS.name)
    found = [item for item in answers["controlled"][features.OUTPUT_ITEM_IDS][0] if item]
    originals = {item if item in ids else ids[int(item[1:]) % len(ids)] for item in found}
    assert originals
    assert all(original.endswith(b"-kettle") for original in originals)

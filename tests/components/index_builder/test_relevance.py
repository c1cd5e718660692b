"""Relevance control against NumPy, and in a served model that was trained for it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.index_builder.attributes import ItemAttributes
from components.index_builder.config import IndexConfig, RelevanceControlConfig
from components.index_builder.relevance import RelevanceFilter, asked_for, first_kept, matches
from components.index_builder.search_index import ExactIndex, ScannIndex
from components.index_builder.servable import Servable
from schema import features
from schema.settings import InputError
from tests.components.index_builder.conftest import CONFIG, lexicon_of
from tests.small_shop import ALL_CATALOG, MORE_SEARCHES, THINGS, serialize
from trainer import artifact
from trainer.config import TrainerConfig
from trainer.input import SearchReader
from trainer.query_understanding import FIELDS, QueryUnderstanding

VALUES = 4


def understanding(allowed: list[dict[str, list[int]]]) -> QueryUnderstanding:
    """Unit `n` says `allowed[n - 1]`; no unit is in a pair."""
    rows = np.zeros((len(allowed) + 2, VALUES), np.int32)
    tables = {name: rows.copy() for name in FIELDS}
    for row, verdict in enumerate(allowed, start=2):
        for name, values in verdict.items():
            tables[name][row, : len(values)] = values
    units = np.array([0, *range(2, len(allowed) + 2)], np.int32)
    return QueryUnderstanding.of(units, np.zeros(1, np.int32), {}, tables)


@st.composite
def shops(draw):
    """Items with fields and one-dimensional vectors, queries of one unit each, and who asks for relevance control."""
    count = draw(st.integers(1, 12))
    value = st.integers(0, 3)
    columns = {name: np.array(draw(st.lists(value, min_size=count, max_size=count)), np.int32) for name in FIELDS}
    verdict = st.dictionaries(st.sampled_from(FIELDS), st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True))
    verdicts = draw(st.lists(verdict, min_size=1, max_size=5))
    wanted = draw(st.lists(st.booleans(), min_size=len(verdicts), max_size=len(verdicts)))
    vectors = np.array(draw(st.permutations(range(count))), np.float32)[:, np.newaxis]
    config = RelevanceControlConfig(overfetch=draw(st.integers(1, 4)), min_hits=draw(st.integers(1, 3)))
    return columns, verdicts, wanted, vectors, config, draw(st.integers(1, count))


@given(shops())
@settings(deadline=None, max_examples=40)
def test_filtered_answers_equal_a_plain_filter_of_the_ranking(shop):
    columns, verdicts, wanted, vectors, config, k = shop
    index = ExactIndex(vectors)
    padded_columns = {name: np.append(column, 0).astype(np.int32) for name, column in columns.items()}
    control = RelevanceFilter(understanding(verdicts), padded_columns, np.arange(len(vectors)), config)
    queries = tf.ones([len(verdicts), 1, 1])
    units = tf.range(1, len(verdicts) + 1)[:, tf.newaxis]
    positions, scores, done = (
        tensor.numpy()
        for tensor in control.retrieve(
            index.search(queries[:, 0], k),
            lambda requests, width: index.search(tf.gather(queries, requests)[:, 0], width),
            units,
            tf.zeros([len(verdicts), 2], tf.int32),
            tf.constant(wanted),
            k,
        )
    )
    ranking = np.argsort(-vectors[:, 0], kind="stable")
    for row, verdict in enumerate(verdicts):
        match = [i for i in ranking[: k * config.overfetch] if all(columns[n][i] in v for n, v in verdict.items())]
        expected, flag = list(ranking[:k]), "off"
        if wanted[row]:
            flag = "nothing_named" if not verdict else "applied" if len(match) >= config.min_hits else "fallback"
        if flag == "applied":
            expected = match[:k]
        assert done[row].decode() == flag
        assert positions[row].tolist() == expected + [-1] * (k - len(expected))
        assert scores[row].tolist() == [vectors[i, 0] for i in expected] + [-np.inf] * (k - len(expected))
        assert positions[row][0] >= 0


@given(shops())
@settings(deadline=None, max_examples=30)
def test_matches_equal_a_loop(shop):
    columns, verdicts, _, _, _, _ = shop
    allowed = {
        name: tf.constant([(verdict.get(name, []) + [0] * VALUES)[:VALUES] for verdict in verdicts], tf.int32)
        for name in FIELDS
    }
    items = {name: tf.constant(np.tile(column, (len(verdicts), 1))) for name, column in columns.items()}
    expected = [
        [all(columns[n][i] in v for n, v in verdict.items()) for i in range(len(columns[FIELDS[0]]))]
        for verdict in verdicts
    ]
    np.testing.assert_array_equal(matches(allowed, items), expected)


def test_kept_hits_stay_in_their_order_and_fill_from_the_front():
    positions, scores = first_kept(
        tf.constant([[False, True, False, True], [False] * 4, [True] * 4]),
        tf.constant([[7, 5, 3, 1]] * 3),
        tf.constant([[4.0, 3.0, 2.0, 1.0]] * 3),
        3,
    )
    assert positions.numpy().tolist() == [[5, 1, -1], [-1, -1, -1], [7, 5, 3]]
    assert scores.numpy()[0].tolist() == [3.0, 1.0, -np.inf]


@pytest.mark.parametrize("default", [True, False])
def test_a_request_decides_and_the_setting_where_it_is_unclear(default):
    said = tf.RaggedTensor.from_row_lengths(
        [b"on", b"OFF", b" On ", b"maybe", b"\xff\xfe", b"", b"off", b"on"], [1, 1, 1, 1, 1, 1, 0, 2]
    )
    meant = asked_for(said, default).numpy().tolist()
    assert meant == [True, False, True, default, default, default, default, False]
    assert asked_for(tf.ragged.constant([], ragged_rank=1, dtype=tf.string), default).shape == (0,)


def test_more_hits_can_never_be_needed_than_are_returned():
    with pytest.raises(InputError, match="min_hits` \\(5\\) hits can never be among the 4 of `k`"):
        IndexConfig.parse({"k": 4, "relevance_control": {"min_hits": 5}})


def test_a_quantized_index_finds_more_than_it_was_tuned_for():
    """The over-fetch asks for more hits than the index was built for."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 8)).astype(np.float32)
    for parameters in ({"reorder": 20}, {"leaves": 40, "leaves_to_search": 40, "reorder": 20}):
        positions, scores = ScannIndex(vectors, parameters, 10).search(tf.constant(vectors[:3]), 80)
        assert positions.shape == (3, 80)
        for row, query in zip(positions.numpy(), vectors, strict=False):
            exact = np.argsort(-(vectors @ query))[:80]
            assert len(set(row.tolist())) == 80
            assert len(np.intersect1d(row, exact)) > 70
        assert np.all(np.diff(scores.numpy(), axis=1) <= 1e-6)


@pytest.fixture(scope="module")
def served(built):
    return built.signatures["serving_default"]


def ask(search, *searches: dict) -> tuple[list[list[bytes]], list[str]]:
    answer = search(examples=tf.constant([serialize(search) for search in searches]))
    ids = [[item for item in row if item] for row in answer["item_ids"].numpy().tolist()]
    return ids, [flag.decode() for flag in answer["relevance_control"].numpy()]


CATEGORY_OF = {item["item_id"][0]: item.get("leaf_category", [b""])[0] for item in ALL_CATALOG}


@pytest.mark.parametrize("thing", THINGS)
def test_a_served_query_that_names_a_category_gets_it_alone(served, thing):
    query = {"query": [f"mauve {thing}".encode()]}
    (plain, controlled, off), flags = ask(
        served, query, {**query, "relevance_control": [b"on"]}, {**query, "relevance_control": [b"off"]}
    )
    assert flags == ["off", "applied", "off"]
    assert plain == off
    wanted = f"Home > {thing}".encode()
    assert controlled == [item for item in plain if CATEGORY_OF[item] == wanted]
    assert 0 < len(controlled) < len(plain)


def test_requests_of_one_batch_decide_for_themselves(served):
    searches = [
        {**search, "relevance_control": [b"on"] if number % 2 else []}
        for number, search in enumerate(MORE_SEARCHES[::40])
    ]
    together = ask(served, *searches)
    alone = [ask(served, search) for search in searches]
    assert together == ([ids[0] for ids, _ in alone], [flags[0] for _, flags in alone])
    assert set(together[1]) == {"off", "applied"}


def test_a_served_query_that_names_nothing_is_left_alone(served):
    (unknown, plain), flags = ask(
        served, {"query": [b"xqzzv"], "relevance_control": [b"on"]}, {"query": [b"xqzzv"], "relevance_control": [b"?"]}
    )
    assert flags == ["nothing_named", "off"]
    assert unknown == plain


def in_memory(model: artifact.TrainedModel, folder: Path, relevance_control: RelevanceControlConfig) -> Servable:
    """A servable of the training catalog, as it is before it is saved."""
    vectors = np.random.default_rng(0).normal(size=(model.table.size, model.config.dim)).astype(np.float32)
    config = CONFIG.model_copy(update={"k": 4, "relevance_control": relevance_control})
    rows = np.arange(model.table.size, dtype=np.int32)
    nothing = np.full(model.table.size, b"")
    attributes = ItemAttributes(nothing, nothing, np.full(model.table.size, np.nan, np.float32))
    lexicon = lexicon_of([b""] * model.table.size)
    return Servable(model, model.table, ExactIndex(vectors), rows, attributes, lexicon, config, str(folder))


@pytest.fixture(scope="module")
def controlled_by_setting(built, tmp_path_factory) -> Servable:
    """Of fresh towers of another model, with relevance control on unless a request says otherwise.

    Every query that names a category but that of lamps is made to name a brand that no item is of.
    """
    trained = built.model
    config = TrainerConfig.parse({"model": "two_tower", "embedding_dim": 16, "dim": 16, "hidden": [32]})
    towers = artifact.make_towers(config, trained.sizes)
    artifact.build(towers, SearchReader(config, tuple(trained.sizes.profile)), trained.table)
    learned = trained.understanding
    categories = learned.allowed[features.LEAF_CATEGORY]
    lamp = trained.table.columns[features.LEAF_CATEGORY][trained.table.item_ids.tolist().index(b"red-lamp")].item()
    nowhere = np.where((categories > 0) & ~(categories == lamp).any(axis=-1, keepdims=True), 999, 0).astype(np.int32)
    stubborn = dataclasses.replace(learned, allowed={**learned.allowed, features.BRAND: nowhere})
    model = dataclasses.replace(trained, config=config, towers=towers, understanding=stubborn)
    # Every item of the catalog is among as many hits, so each lamp is found.
    control = RelevanceControlConfig(default=True, overfetch=20)
    return in_memory(model, tmp_path_factory.mktemp("controlled"), control)


def test_on_by_setting_falls_back_where_too_few_match(controlled_by_setting):
    query = {"query": [b"red kettle"]}
    (by_setting, off), flags = ask(controlled_by_setting.search, query, {**query, features.RELEVANCE_CONTROL: [b"off"]})
    assert flags == ["fallback", "off"]
    assert by_setting == off
    assert len(by_setting) == 4
    by_text = controlled_by_setting.search_text(query=tf.constant(["red kettle", "xqzzv"]))
    assert by_text["relevance_control"].numpy().tolist() == [b"fallback", b"nothing_named"]


def test_another_model_is_controlled_alike(controlled_by_setting):
    """What a query names does not depend on the model; the others than `dpsr` have large tables."""
    (found,), flags = ask(controlled_by_setting.search, {"query": [b"mauve lamp"]})
    assert flags == ["applied"]
    assert [CATEGORY_OF[item] for item in found] == [b"Home > lamp"] * 4


def test_a_model_that_never_learned_it_is_served_without_it(built, tmp_path):
    artifact.save(dataclasses.replace(built.model, understanding=None), str(tmp_path / "model"))
    model = artifact.load(str(tmp_path / "model"))
    assert model.understanding is None
    servable = in_memory(model, tmp_path, RelevanceControlConfig(default=True))
    ids, flags = ask(servable.search, {"query": [b"red kettle"], "relevance_control": [b"on"]})
    assert (flags, len(ids[0])) == (["off"], 4)


def test_the_card_says_what_is_understood(built):
    assert built.summary.relevance_control is False
    assert built.summary.understood_terms[features.LEAF_CATEGORY] >= len(THINGS)


def test_a_trained_models_understanding_survives_the_disk(built, tmp_path):
    model = built.model
    artifact.save(model, str(tmp_path / "again"))
    again = artifact.load(str(tmp_path / "again")).understanding.arrays()
    for name, array in model.understanding.arrays().items():
        np.testing.assert_array_equal(array, again[name])

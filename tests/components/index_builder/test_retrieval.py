"""Dense, lexical and hybrid retrieval against plain loops, and in a served model."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.index_builder.attributes import ItemAttributes
from components.index_builder.filters import ItemFilters
from components.index_builder.inverted_file import InvertedFileIndex
from components.index_builder.lexical.index import LexicalIndex, LexicalQuery
from components.index_builder.retrieval import DENSE, HYBRID, LEXICAL, Query, Retriever, kinds_asked_for
from components.index_builder.search_index import ExactIndex
from schema.features import Retrieval
from tests.components.index_builder.conftest import CONFIG, lexicon_of
from tests.components.index_builder.test_filters import conditions_of, shops, with_field
from tests.components.index_builder.test_relevance import ask
from tests.small_shop import ALL_CATALOG, serialize

WORDS = ("red", "blue", "shoe", "tent", "手")
DEPTH = 10**6


def lexical_of(titles: list[bytes]) -> LexicalIndex:
    return LexicalIndex(lexicon_of(titles).postings, CONFIG.lexical, True)


def plain_answer(
    kind: int, dense: np.ndarray, raw: np.ndarray, words: np.ndarray, met: np.ndarray, k: int, weight: float
) -> dict[int, float]:
    """Hits and their scores, where `met` [items] says which items may be hits; ties are not told apart."""

    def best(scores: np.ndarray, allowed: np.ndarray) -> list[int]:
        return [int(item) for item in np.argsort(-scores, kind="stable") if allowed[item]][:k]

    if kind == DENSE:
        return {item: raw[item] for item in best(raw, met)}
    weight = weight if kind == HYBRID else 0.0
    fused = weight * dense + (1 - weight) * words
    found = set(best(words, met & (words > 0))) | (set(best(raw, met)) if kind == HYBRID else set())
    return {item: fused[item] for item in sorted(found, key=lambda item: (-fused[item], item))[:k]}


@given(
    shops(),
    st.data(),
    st.integers(1, 2),
    st.sampled_from((0, 2, 100)),
    st.sampled_from((0.0, 0.3, 1.0)),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=40)
def test_answers_equal_a_loop_for_each_kind_under_any_filter(tmp_path_factory, shop, data, heads, limit, weight, seed):
    attributes, wanted, k = shop
    items = len(attributes.prices)
    texts = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
    titles = data.draw(st.lists(texts, min_size=items, max_size=items))
    queries = data.draw(st.lists(texts, min_size=len(wanted), max_size=len(wanted)))
    kinds = data.draw(st.lists(st.sampled_from((DENSE, LEXICAL, HYBRID)), min_size=len(wanted), max_size=len(wanted)))
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(items, 4)).astype(np.float32)
    asked = rng.normal(size=(len(wanted), heads, 4)).astype(np.float32)
    longest = float(np.linalg.norm(vectors, axis=1).max())
    index, lexical = ExactIndex(vectors), lexical_of([title.encode() for title in titles])
    filters = ItemFilters(index, attributes, limit, str(tmp_path_factory.mktemp("values")))
    retriever = Retriever(index, filters, lexical, DEPTH, weight, longest)
    terms = lexical.understand(tf.constant(queries, tf.string))
    query = Query(tf.constant(kinds, tf.int32), tf.constant(asked), terms, conditions_of(filters, wanted))
    positions, scores = (tensor.numpy() for tensor in retriever.search(query, k))
    assert positions.shape == scores.shape == (len(wanted), k)
    for row, request in enumerate(wanted):
        raw = (asked[row] @ vectors.T).max(axis=0)
        dense = raw / (np.linalg.norm(asked[row], axis=1).max() * longest)
        words = lexical.scores(LexicalQuery(*(tensor[row] for tensor in terms)), DEPTH).numpy()[:items]
        met = np.array([request.met_by(item, attributes) for item in range(items)])
        expected = plain_answer(kinds[row], dense, raw, words, met, k, weight)
        hits = [int(item) for item in positions[row] if item >= 0]
        assert len(set(hits)) == len(hits) == len(expected)
        np.testing.assert_allclose(scores[row][: len(hits)], [*expected.values()], rtol=1e-4, atol=1e-5)
        assert met[hits].all()
        assert (positions[row][len(hits) :] == -1).all()
        assert np.isneginf(scores[row][len(hits) :]).all()


def test_hits_that_tie_come_by_item(tmp_path):
    vectors = np.ones((6, 2), np.float32)
    index, lexical = ExactIndex(vectors), lexical_of([b"red"] * 6)
    nothing = np.full(6, b"")
    filters = ItemFilters(index, ItemAttributes(nothing, nothing, np.zeros(6, np.float32)), 10, str(tmp_path))
    retriever = Retriever(index, filters, lexical, 4, 0.5, 2.0**0.5)
    query = Query(
        tf.constant([LEXICAL, HYBRID]), tf.ones([2, 1, 2]), lexical.understand(tf.constant(["red", "red"])), ()
    )
    positions, _ = retriever.search(query, 6)
    # Of a term that six items have, four are read.
    assert positions.numpy().tolist() == [[0, 1, 2, 3, -1, -1], [0, 1, 2, 3, 4, 5]]


def test_the_portable_index_fuses_as_exact_search_does(tmp_path):
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(600, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    titles = [" ".join(rng.choice(WORDS, 3)).encode() for _ in range(600)]
    nothing = np.full(600, b"")
    attributes = ItemAttributes(nothing, nothing, np.zeros(600, np.float32))
    lexical = lexical_of(titles)
    everything = {"leaves": 10, "leaves_to_search": 10, "reorder": 600}
    answers = []
    for index in (ExactIndex(vectors), InvertedFileIndex(vectors, everything, 20, seed=1)):
        retriever = Retriever(index, ItemFilters(index, attributes, 10, str(tmp_path)), lexical, DEPTH, 0.5, 1.0)
        graph = tf.function(
            lambda queries, asked, retriever=retriever: retriever.search(
                Query(tf.fill(tf.shape(queries), HYBRID), asked, lexical.understand(queries), ()), 20
            ),
            autograph=False,
        )
        answers.append(graph(tf.constant(["red shoe", "blue", "nothing"]), tf.constant(vectors[:3, np.newaxis])))
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    np.testing.assert_allclose(answers[0][1], answers[1][1], rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ([b"lexical"], LEXICAL),
        ([b" Dense "], DENSE),
        ([b"HYBRID", b"dense"], HYBRID),
        ([b"bm25"], DENSE),
        ([], DENSE),
    ],
)
def test_a_request_names_its_retrieval_or_gets_the_default(values, kinds):
    raw = tf.io.parse_example(
        tf.constant([serialize({"retrieval": values})]), {"retrieval": tf.io.RaggedFeature(tf.string)}
    )
    assert kinds_asked_for(raw["retrieval"], Retrieval.DENSE).numpy().tolist() == [kinds]


@pytest.fixture(scope="module")
def search(built):
    return built.signatures["serving_default"]


WORDS = ("title", "brand", "category_path", "text_story", "categorical_color")


def with_words(*words: str) -> set[bytes]:
    return {
        item["item_id"][0]
        for item in ALL_CATALOG
        if any(word in " ".join(v.decode() for n in WORDS for v in item.get(n, [])).lower() for word in words)
    }


@pytest.mark.parametrize("query", ["red lamp", "yrok", "红手机", "guitars", "newyork"])
def test_a_served_lexical_answer_holds_the_items_with_the_words(search, query):
    words = {"yrok": ("york",), "guitars": ("guitar",), "newyork": ("york",), "红手机": tuple("红手机")}
    (ids,), _ = ask(search, {"query": [query.encode()], "retrieval": [b"lexical"]})
    expected = with_words(*words.get(query, query.split()))
    assert set(ids) == (expected if query != "yrok" else set())


def test_each_request_of_a_batch_gets_the_retrieval_it_asks_for(search):
    base = {"query": [b"red lamp"]}
    kinds = [{**base, "retrieval": [kind.encode()]} for kind in Retrieval.ALL]
    together, _ = ask(search, *kinds, base)
    alone = [ask(search, request)[0][0] for request in kinds]
    assert together == [*alone, alone[2]]
    assert len(alone[0]) == len(ALL_CATALOG)
    assert alone[2][0] == b"red-lamp"


@pytest.mark.parametrize("kind", Retrieval.ALL)
@pytest.mark.parametrize(
    "option",
    [{"filter_brand": [b"brand 1"]}, {"filter_max_price": [6.5]}, {"exclude_items": [b"red-lamp", b"blue-lamp"]}],
)
def test_filters_hold_for_every_kind_of_retrieval(search, kind, option):
    plain = {"query": [b"red lamp"], "retrieval": [kind.encode()]}
    (before, after), _ = ask(search, plain, {**plain, **option})
    allowed = {
        "filter_brand": with_field("brand", b"brand 1"),
        "filter_max_price": with_field("price", 0.0, 5.0, 6.0),
        "exclude_items": set(before) - {b"red-lamp", b"blue-lamp"},
    }
    assert set(after) == set(before) & allowed[next(iter(option))]


@pytest.mark.parametrize("kind", Retrieval.ALL)
def test_relevance_control_works_with_every_kind_of_retrieval(search, kind):
    query = {"query": [b"red lamp"], "retrieval": [kind.encode()], "relevance_control": [b"on"]}
    (ids,), flags = ask(search, query)
    assert flags == ["applied"]
    assert set(ids) == with_field("leaf_category", b"Home > lamp")


@pytest.mark.parametrize("kind", Retrieval.ALL)
def test_a_query_without_words_finds_by_vectors_alone(search, kind):
    (ids,), _ = ask(search, {"query": [b""], "retrieval": [kind.encode()], "real_time_items": [b"red-lamp"]})
    assert len(ids) == (0 if kind == Retrieval.LEXICAL else len(ALL_CATALOG))

"""Search by words against BM25F in plain Python."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.index_builder.lexical.config import LexicalConfig
from components.index_builder.lexical.index import LexicalIndex, LexicalQuery
from components.index_builder.lexical.postings import Field, Postings, build_postings
from tests.components.index_builder.lexical.oracle import PlainField, scores

# Two of them are two others written as one; Chinese characters are units of their own.
UNITS = ("red", "shoe", "redshoe", "tent", "手", "机", "xa", "shoetent")
texts = st.lists(st.sampled_from(UNITS), max_size=5)
DEFAULTS = LexicalConfig()
# No saturation of whole occurrences is half a step of those that are kept.
CONFIG = LexicalConfig(similar_words=0, k1=1.2345)


def index_of(titles: list[str], config: LexicalConfig = DEFAULTS, fold_plurals: bool = True) -> LexicalIndex:
    fields = [Field("title", 1.0, 0.5, [title.encode() for title in titles])]
    return LexicalIndex(build_postings(fields, config, fold_plurals), config, fold_plurals)


def search(index: LexicalIndex, queries: list[str], k: int, depth: int = 10**9) -> tuple[np.ndarray, np.ndarray]:
    """Positions and scores, without the time that a graph takes to be traced."""
    terms = index.understand(tf.constant(queries, tf.string))
    found = [index.best(index.scores(LexicalQuery(*one), depth), k) for one in zip(*terms, strict=True)]
    positions, values = ([pair[n].numpy() for pair in found] for n in range(2))
    return np.reshape(positions, (len(queries), k)), np.reshape(values, (len(queries), k))


def titles_found(titles: list[str], query: str, config: LexicalConfig = DEFAULTS) -> list[str]:
    ((positions,), _) = search(index_of(titles, config), [query], len(titles))
    return [titles[place] for place in positions if place >= 0]


@st.composite
def shops(draw):
    items = draw(st.integers(1, 8))
    fields = st.builds(
        PlainField,
        weight=st.sampled_from((0.5, 1.0, 2.0)),
        b=st.sampled_from((0.0, 0.5, 1.0)),
        texts=st.lists(texts, min_size=items, max_size=items),
    )
    return (
        draw(st.lists(fields, min_size=1, max_size=3)),
        draw(st.lists(texts, max_size=3)),
        draw(st.integers(1, items)),
    )


@given(shops(), st.sampled_from((0.0, 0.5, 1.0)), st.sampled_from((1, 2, 10**9)))
@settings(deadline=None, max_examples=40)
def test_search_equals_the_equations_of_bm25f_with_ties_by_item(shop, joined_weight, depth):
    plain, queries, k = shop
    config = CONFIG.model_copy(update={"joined_weight": joined_weight, "query_terms": 64})
    fields = [
        Field(str(n), field.weight, field.b, [" ".join(text).encode() for text in field.texts])
        for n, field in enumerate(plain)
    ]
    index = LexicalIndex(build_postings(fields, config, False), config, False)
    positions, found = search(index, [" ".join(query) for query in queries], k, depth)
    for row, query in enumerate(queries):
        expected = np.array(scores(plain, query, config, depth))
        best = np.sort(expected)[::-1][:k]
        hits = positions[row] >= 0
        assert hits.sum() == np.count_nonzero(best)
        np.testing.assert_allclose(found[row][hits], best[best > 0], rtol=1e-5)
        np.testing.assert_allclose(found[row][hits], expected[positions[row][hits]], rtol=1e-5)
        for place in range(1, hits.sum()):
            tied = found[row][place] == found[row][place - 1]
            assert not tied or positions[row][place - 1] < positions[row][place]
        assert np.isneginf(found[row][~hits]).all()


@given(st.lists(st.sampled_from((0.0, 0.25, 0.5, 1.0)), min_size=1, max_size=700), st.integers(1, 300))
@settings(deadline=None, max_examples=30)
def test_the_best_of_blocks_are_the_best_of_all(values, k):
    index = index_of(["red"] * len(values))
    k = min(k, len(values))
    padded = np.zeros(-(-len(values) // 128) * 128, np.float32)
    padded[: len(values)] = values
    positions, found = (tensor.numpy() for tensor in index.best(tf.constant(padded), k))
    expected = [place for place in np.argsort(-padded, kind="stable")[:k] if padded[place] > 0]
    assert positions.tolist() == expected + [-1] * (k - len(expected))
    np.testing.assert_array_equal(found[: len(expected)], padded[expected])


def test_compounds_and_words_written_apart_find_each_other():
    titles = ["smart watch in black", "a smartwatch for men", "smart tv", "watch strap"]
    assert set(titles_found(titles, "smartwatch")) == set(titles[:2])
    assert titles_found(titles, "smart watch")[0] == titles[0]
    assert titles[1] in titles_found(titles, "smart watch")


def test_neighbors_in_the_query_prefer_neighbors_in_the_title():
    assert titles_found(["红手机色壳", "红色手机壳"], "手机壳")[0] == "红色手机壳"
    assert titles_found(["york new hat", "new york hat"], "new york")[0] == "new york hat"
    assert titles_found(["york new hat", "new york hat"], "new york", LexicalConfig(joined_weight=0.0)) == [
        "york new hat",
        "new york hat",
    ]


def test_plurals_count_as_singular_only_where_they_are_folded():
    for fold, hits in ((True, 1), (False, 0)):
        positions, _ = search(index_of(["red shoes"], CONFIG, fold), ["shoe"], 1)
        assert (positions >= 0).sum() == hits


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("runing", ["running belt"]),
        ("smasung", ["samsung phone"]),
        ("samsng", ["samsung phone"]),
        ("phonne", ["samsung phone"]),
        ("x1234", []),
        ("zzzzzz", []),
        ("ph", []),
    ],
)
def test_a_word_that_no_item_has_stands_for_the_most_similar(query, expected):
    assert titles_found(["running belt", "samsung phone", "q1235 cable", "手机"], query) == expected


def test_of_equally_similar_words_the_most_frequent_comes_first():
    titles = ["bolt a", "bold a", "bold b"]
    config = LexicalConfig(similar_words=1)
    assert titles_found(titles, "bolx", config) == ["bold a", "bold b"]
    assert set(titles_found(titles, "bolx", LexicalConfig(similar_words=2))) == set(titles)


def test_what_a_similar_word_counts_falls_with_its_likeness():
    titles = ["phone", "phones case"]
    _, ((exact, *_), (close, *_)) = search(
        index_of([*titles, "tent"], LexicalConfig()), ["phone tent", "phonne tent"], 3
    )
    assert exact == pytest.approx(close, abs=0.5)
    config = LexicalConfig(similar_weight=0.1)
    positions, _ = search(index_of(["phone", "tent"], config), ["phonne tent"], 2)
    assert positions[0].tolist() == [1, 0]


@pytest.mark.parametrize("query", ["", " ", "?!", "zzz 7q", "\x00", "🙂", "x" * 10_000])
def test_a_query_without_a_known_word_finds_nothing(query):
    positions, found = search(index_of(["red shoe", "手机"]), [query, "red"], 2)
    assert positions.tolist() == [[-1, -1], [0, -1]]
    assert np.isneginf(found[0]).all()


def test_of_a_long_query_the_terms_count_that_can_count_most():
    titles = ["rare a", *["often b"] * 5]
    config = LexicalConfig(query_terms=1, joined_weight=0.0)
    assert titles_found(titles, "often often rare", config) == ["rare a"]
    positions, _ = search(index_of(titles), ["rare " * 10_000], 2)
    assert positions.tolist() == [[0, -1]]


def test_an_empty_batch_and_a_wordless_catalog_find_nothing():
    assert search(index_of(["red"]), [], 1)[0].shape == (0, 1)
    assert search(index_of(["", ""]), ["red"], 2)[0].tolist() == [[-1, -1]]


@given(st.lists(texts, min_size=2, max_size=8), st.data())
@settings(deadline=None, max_examples=20)
def test_lists_of_some_items_keep_the_scores_of_the_whole(titles, data):
    config = CONFIG
    postings: Postings = build_postings(
        [Field("title", 1.0, 0.5, [" ".join(t).encode() for t in titles])], config, False
    )
    own = sorted(data.draw(st.sets(st.integers(0, len(titles) - 1), min_size=1)))
    query = " ".join(data.draw(texts))
    whole, part = (LexicalIndex(lists, config, False) for lists in (postings, postings.of(np.array(own))))
    everything, some = (
        index.scores(LexicalQuery(*(tensor[0] for tensor in index.understand(tf.constant([query])))), 10**9).numpy()
        for index in (whole, part)
    )
    np.testing.assert_allclose(some[: len(own)], everything[own], rtol=1e-6)

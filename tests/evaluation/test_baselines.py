import math
from collections import Counter

import numpy as np
import pytest
import Stemmer
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.baselines import (
    Bm25,
    as_shown,
    memorized_clicks,
    most_popular,
    tokenize,
    with_clicked_queries,
)
from evaluation.training_counts import ClickedQueries

ENGLISH = Stemmer.Stemmer("english")


def test_popularity_gives_everyone_the_clicked_items_most_first():
    rows = most_popular(np.array([0, 5, 2, 5, 0, 1]), requests=2, k=5)
    assert rows.tolist() == [[1, 3, 2, 5, -1]] * 2


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Running SHOES, men's", ["run", "shoe", "men", "s"]),
        ("红色跑鞋", ["红", "色", "跑", "鞋", "红色", "色跑", "跑鞋"]),
        ("Nike跑鞋 42", ["nike", "跑", "鞋", "跑鞋", "42"]),
        ("ＡＢＣ　１２", ["abc", "12"]),
        ("", []),
        ("!?", []),
    ],
)
def test_terms_are_word_stems_or_chinese_characters_and_pairs(text, terms):
    assert tokenize(text, ENGLISH) == terms


def test_bm25_ranks_by_the_textbook_formula():
    texts = ["red running shoes", "blue shoes", "red lamp for the red room", "kettle", "running water kettle kettle"]
    documents = [Counter(tokenize(text, ENGLISH)) for text in texts]
    average = sum(sum(document.values()) for document in documents) / len(documents)

    def score(query, document):
        total = 0.0
        for term in tokenize(query, ENGLISH):
            holding = sum(term in other for other in documents)
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            norm = 1.5 * (1 - 0.75 + 0.75 * sum(document.values()) / average)
            total += idf * document[term] / (document[term] + norm) if holding else 0.0
        return total

    queries = ["red shoes", "running kettle", "shoe", "nothing here", ""]
    found = Bm25(texts).search(queries, 4)
    for query, rows in zip(queries, found.tolist(), strict=True):
        scores = [score(query, document) for document in documents]
        expected = [row for row in sorted(range(5), key=lambda row: (-scores[row], row)) if scores[row] > 0][:4]
        assert rows == expected + [-1] * (4 - len(expected))


def test_bm25_finds_chinese_titles_by_parts_of_unsegmented_text():
    found = Bm25(["男士红色跑鞋", "女士连衣裙", "红色雨伞"]).search(["红色跑鞋男"], 3)
    assert found.tolist() == [[0, 2, -1]]


def test_bm25_over_texts_without_a_word_finds_nothing():
    assert Bm25(["", "!"]).search(["shoes"], 2).tolist() == [[-1, -1]]


def test_as_shown_is_the_page_cut_or_padded_to_k():
    pages = np.array([[4, 2, 9], [7, -1, -1]])
    assert as_shown(pages, 2).tolist() == [[4, 2], [7, -1]]
    assert as_shown(pages, 4).tolist() == [[4, 2, 9, -1], [7, -1, -1, -1]]


def test_scores_of_given_items_order_them_as_the_search_does():
    texts = ["red running shoes", "red red shoes", "desk lamp", "shoes", "lamp red"]
    index = Bm25(texts)
    rows = np.tile(np.array([0, 1, 2, 3, 4, -1, 5]), (2, 1))
    scores = index.scores(["red shoes", "nothing known"], rows)
    found = index.search(["red shoes"], 5)[0]
    found = found[found >= 0].tolist()
    assert sorted(found, key=lambda row: -scores[0, row]) == found
    assert set(np.flatnonzero(scores[0, :5] > 0)) == set(found)
    assert (scores[:, 5:] == 0).all()
    assert (scores[1] == 0).all()


QUERY, ITEM = st.sampled_from(["red shoes", "lamp", "shoes", "kettle"]), st.integers(0, 4)


def clicked_queries(clicks):
    """`ClickedQueries` out of a count by (query, row)."""
    queries = tuple(dict.fromkeys(query for query, _ in clicks))
    pairs = sorted((queries.index(query), row, count) for (query, row), count in clicks.items())
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 3).T
    return ClickedQueries(queries, *columns)


@settings(deadline=None)
@given(st.dictionaries(st.tuples(QUERY, ITEM), st.integers(1, 4)), st.integers(1, 6))
def test_memorized_clicks_are_those_of_the_query_by_number(clicks, k):
    queries = ["red shoes", "lamp", "never asked", "red shoes"]
    found = memorized_clicks(clicked_queries(clicks), queries, k)
    for query, rows in zip(queries, found.tolist(), strict=True):
        counts = {row: count for (asked, row), count in clicks.items() if asked == query}
        best = sorted(counts, key=lambda row: (-counts[row], row))[:k]
        assert rows == best + [-1] * (k - len(best))


@settings(deadline=None)
@given(st.dictionaries(st.tuples(QUERY, ITEM), st.integers(1, 4)), st.integers(1, 3))
def test_an_items_text_takes_its_most_clicked_queries_once_each(clicks, most):
    texts = [f"title {row}" for row in range(5)]
    for row, text in enumerate(with_clicked_queries(texts, clicked_queries(clicks), most)):
        counts = {query: count for (query, item), count in clicks.items() if item == row}
        best = sorted(counts, key=lambda query: (-counts[query], query))[:most]
        assert text == " ".join([f"title {row}", *best])


def test_bm25_finds_an_item_by_a_query_that_led_to_it():
    texts = with_clicked_queries(["oak desk", "desk lamp"], clicked_queries({("bureau", 0): 3}))
    assert Bm25(texts).search(["bureau"], 2).tolist() == [[0, -1]]

from collections import Counter

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from schema import features, transformed
from trainer.clicked_queries import with_clicked_words, without_own
from trainer.item_table import ItemTable

ITEMS, KNOWN, WIDTH = 4, 9, 3
# Word 10 and item 5 (row 4) are those that the vocabularies do not have.
words = st.lists(st.integers(1, KNOWN + 1), max_size=4)
clicks = st.lists(st.integers(1, ITEMS + 1), min_size=1, max_size=2, unique=True)
logs = st.lists(st.tuples(words, clicks), max_size=12)


def chunk(log) -> dict[str, tf.Tensor]:
    def padded(rows, width):
        return tf.constant([(row + [0] * width)[:width] for row in rows], tf.int32, [len(rows), width])

    return {
        transformed.QUERY_UNIGRAMS: padded([query for query, _ in log], 4),
        features.ITEMS: padded([items for _, items in log], 2),
    }


def table_of(log, width: int = WIDTH) -> ItemTable:
    ids = np.array([b"a", b"b", b"c", b"d"])
    half = len(log) // 2
    return with_clicked_words(ItemTable(ids, {}), [chunk(log[:half]), chunk(log[half:])], KNOWN, width)


def led_to(log, item: int) -> Counter[int]:
    counts: Counter[int] = Counter()
    for query, items in log:
        if item in items:
            counts.update({word for word in query if word <= KNOWN})
    return counts


@settings(deadline=None, max_examples=60)
@given(logs)
def test_an_item_has_the_words_most_requests_led_to_it_with(log):
    columns = table_of(log).columns
    for item in range(1, ITEMS + 1):
        ranked = sorted(led_to(log, item).items(), key=lambda pair: (-pair[1], pair[0]))[:WIDTH]
        found = zip(*(columns[name][item - 1].tolist() for name in transformed.CLICKED_WORDS), strict=True)
        assert [pair for pair in found if pair[0]] == ranked
    assert not columns[transformed.CLICKED_UNIGRAMS][ITEMS].any()


@settings(deadline=None, max_examples=60)
@given(logs.filter(len))
def test_a_request_never_sees_its_own_click(log):
    columns = table_of(log, width=KNOWN).columns
    pairs = [(place, item) for place, (_, items) in enumerate(log) for item in items if item <= ITEMS]
    rows = tf.constant([item - 1 for _, item in pairs], tf.int32)
    queries = tf.gather(chunk(log)[transformed.QUERY_UNIGRAMS], tf.constant([place for place, _ in pairs], tf.int32))
    item_features = {name: tf.gather(columns[name], rows) for name in transformed.CLICKED_WORDS}
    seen = without_own(item_features, queries)[transformed.CLICKED_UNIGRAMS].numpy()
    for (place, item), found in zip(pairs, seen, strict=True):
        others = [request for other, request in enumerate(log) if other != place]
        assert set(found.tolist()) - {0} == set(led_to(others, item))


def test_no_words_are_kept_where_none_are_wanted():
    assert table_of([([1], [1])], width=0).columns[transformed.CLICKED_UNIGRAMS].shape == (ITEMS + 1, 0)

"""The queries that led to an item, as the lexical channel reads them."""

from collections import Counter

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from components.index_builder.lexical.clicked_queries import clicked_queries, read_clicks
from tests.small_shop import write_examples

IDS = np.array([b"a", b"bb", b"c"])

clicks = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["red shoe", "shoe", "红鞋"])), max_size=30)


def test_clicks_are_read_with_the_place_of_their_item(tmp_path):
    rows = [
        {"request_id": [b"1"], "query": [b" Red Shoe"], "items": [b"c", b"a", b"gone"], "stages": [2, 1, 3]},
        {"request_id": [b"2"], "query": [b"hat"], "items": [b"bbb", b"bb"], "stages": [2, 3]},
        {"request_id": [b"3"], "items": [b"a"], "stages": [2]},
    ]
    write_examples(tmp_path / "train.gz", rows)
    found = read_clicks(str(tmp_path / "*.gz"), 0.0, IDS)
    assert found.rows() == [(2, "red shoe", False), (1, "hat", False)]


def test_what_training_kept_out_is_marked(tmp_path):
    rows = [
        {"request_id": [f"{number}".encode()], "query": [b"shoe"], "items": [b"a"], "stages": [2]}
        for number in range(300)
    ]
    write_examples(tmp_path / "train.gz", rows)
    marked = read_clicks(str(tmp_path / "*.gz"), 0.2, IDS)["in_validation"].sum()
    assert 30 < marked < 90


@settings(deadline=None, max_examples=60)
@given(clicks)
def test_a_query_counts_each_time_it_led_to_an_item_up_to_three(log):
    frame = pl.DataFrame(log, schema={"item": pl.Int64, "query": pl.String}, orient="row")
    found = clicked_queries(frame, len(IDS))
    for item, text in enumerate(found):
        expected = {query: min(3, n) for query, n in Counter(q for i, q in log if i == item).items()}
        assert Counter(text.decode().split("\n") if text else []) == expected

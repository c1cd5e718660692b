import numpy as np
import pytest
import tensorflow as tf

from tests.components.index_builder.conftest import CONFIG, TWIN
from tests.small_shop import ALL_CATALOG, MORE_SEARCHES, serialize


@pytest.fixture(scope="module")
def signatures(built):
    return built.signatures


def served_ids(answer) -> list[list[bytes]]:
    return answer["item_ids"].numpy().tolist()


def test_a_search_finds_what_such_searches_led_to(signatures):
    searches = MORE_SEARCHES[::8]
    ids = served_ids(signatures["serving_default"](tf.constant([serialize(s) for s in searches])))
    found = [search["items"][0] in row[:5] for search, row in zip(searches, ids, strict=True)]
    assert np.mean(found) > 0.8


def test_answers_are_distinct_by_falling_score_and_padded_to_k(signatures):
    answer = signatures["query_text"](tf.constant(["red kettle", "tent", ""]))
    scores = answer["scores"].numpy()
    indexed = len(ALL_CATALOG)
    assert scores.shape == (3, CONFIG.k)
    for ids, row in zip(served_ids(answer), scores, strict=True):
        assert len(set(ids[:indexed])) == indexed
        assert ids[indexed:] == [b""] * (CONFIG.k - indexed)
        assert np.all(np.diff(row[:indexed]) <= 0)
        assert np.all(np.isneginf(row[indexed:]))


def test_scores_are_those_of_the_best_head_by_exact_search(signatures):
    requests = tf.constant([serialize({**search, "retrieval": [b"dense"]}) for search in MORE_SEARCHES[:5]])
    vectors = signatures["encode_query"](requests)["vectors"].numpy()
    items = signatures["encode_items"](tf.constant([serialize(item) for item in ALL_CATALOG]))["vectors"].numpy()
    by_id = {item["item_id"][0]: vector for item, vector in zip(ALL_CATALOG, items, strict=True)}
    answer = signatures["serving_default"](requests)
    assert vectors.shape == (5, 2, 16)
    for heads, ids, scores in zip(vectors, served_ids(answer), answer["scores"].numpy(), strict=True):
        expected = [max(head @ by_id[i] for head in heads) if i in by_id else None for i in ids if i]
        got = [score for i, score in zip(ids, scores, strict=True) if i]
        for e, g in zip(expected, got, strict=True):
            assert e is None or g == pytest.approx(e, abs=1e-5)


def test_both_entry_points_agree_for_nobody_in_particular(signatures):
    by_text = signatures["query_text"](tf.constant(["green tent", "红色手机"]))
    by_example = signatures["serving_default"](
        tf.constant([serialize({"query": [q]}) for q in (b"green tent", "红色手机".encode())])
    )
    assert served_ids(by_text) == served_ids(by_example)
    np.testing.assert_allclose(by_text["scores"], by_example["scores"], rtol=1e-5)


def test_behavior_moves_the_answer_and_unseen_items_do_no_harm(signatures):
    plain, behaved, unseen = signatures["encode_query"](
        tf.constant(
            [
                serialize({"query": [b"tent"]}),
                serialize({"query": [b"tent"], "long_term_orders": [b"red-kettle"]}),
                serialize({"query": [b"tent"], "long_term_orders": [b"no such item"], "profile_gender": [b"?"]}),
            ]
        )
    )["vectors"].numpy()
    assert not np.allclose(plain, behaved)
    assert np.all(np.isfinite(unseen))


def test_an_item_newer_than_the_model_counts_as_behavior(signatures):
    """The twin is not in the vocabulary of the training day, but in the served table."""
    twin, original = signatures["encode_query"](
        tf.constant(
            [
                serialize({"query": [b"tent"], "real_time_items": TWIN["item_id"]}),
                serialize({"query": [b"tent"], "real_time_items": ALL_CATALOG[-1]["item_id"]}),
            ]
        )
    )["vectors"].numpy()
    np.testing.assert_allclose(twin, original, rtol=1e-5)


@pytest.mark.parametrize("query", ["", " ", "x" * 10_000, "word " * 10_000, "\x00", "🙂"])
def test_odd_queries_get_an_answer(signatures, query):
    scores = signatures["query_text"](tf.constant([query]))["scores"].numpy()
    assert np.all(np.isfinite(scores[0, : len(ALL_CATALOG)]))


def test_an_empty_batch_gets_an_empty_answer(signatures):
    assert signatures["query_text"](tf.zeros([0], tf.string))["item_ids"].shape == (0, CONFIG.k)


def test_bytes_that_are_no_example_are_refused(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["serving_default"](examples=tf.constant([b"not an example"]))

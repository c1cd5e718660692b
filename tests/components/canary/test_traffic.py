import tensorflow as tf

from components.canary import traffic
from schema import features
from tests.components.canary.conftest import EVAL_REQUESTS, VERSION
from tests.serving import tiny_retriever


def names(example: bytes) -> set[str]:
    return set(tf.train.Example.FromString(example).features.feature)


def test_eval_requests_are_sent_without_what_came_of_them(examples_uri):
    questions = traffic.eval_questions(examples_uri, 1000, seed=0)
    assert len(questions) == EVAL_REQUESTS
    sent = set().union(*(names(question.example) for question in questions))
    assert sent == {"query", "user_id", "history_queries", "real_time_items"}


def test_the_seed_chooses_requests_and_takes_from_every_shard(examples_uri):
    def users(seed: int) -> list[bytes]:
        chosen = traffic.eval_questions(examples_uri, 10, seed)
        features_of = (tf.train.Example.FromString(question.example).features.feature for question in chosen)
        return [feature["user_id"].bytes_list.value[0] for feature in features_of]

    assert users(1) == users(1) != users(2)
    assert len(set(users(1))) == 10
    assert {int(user[1:]) % 2 for user in users(1)} == {0, 1}


def test_every_id_of_the_catalog_is_known(examples_uri):
    expected = {item_id.encode() for item_id in tiny_retriever.item_ids(VERSION)}
    assert traffic.catalog_ids(examples_uri) == expected
    assert len(traffic.catalog_examples(examples_uri, 4)) == 4


def test_a_missing_split_holds_nothing(tmp_path):
    assert traffic.eval_questions(str(tmp_path), 5, seed=0) == []
    assert traffic.catalog_ids(str(tmp_path)) == frozenset()


def test_the_edge_requests_are_what_their_names_say():
    sent = {question.name: question for question in traffic.edge_questions(b"red shoes")}
    query = {name: traffic.query_of(question.example) for name, question in sent.items()}
    assert len(query["a query of 10,000 characters"]) == len(query["a word of 10,000 characters"]) == 10_000
    assert query["a query of 10,000 characters"].startswith(b"red shoes red shoes ")
    assert b" " not in query["a word of 10,000 characters"]
    assert not query["a query beyond ASCII"].isascii()
    assert query["an empty query"] == b""
    assert names(sent["an empty query"].example) == {features.QUERY}
    assert names(sent["no feature at all"].example) == set()
    assert names(sent["no user and no behavior"].example) == {features.QUERY}
    assert names(sent["a user never seen"].example) == {features.QUERY, features.USER_ID}
    assert names(sent["behavior of unknown items only"].example) == {features.QUERY, *features.BEHAVIOR_ITEM_FEATURES}

import pytest
import tensorflow as tf

from schema import features
from schema.settings import InputError
from souk_client.examples import Behavior, search_example
from souk_client.filters import ColumnFilter, Filters

EVERYTHING = Behavior(
    history_queries=["shoes", "красные"],
    real_time_items=["i1"],
    short_term_items=["i2", "i3"],
    long_term_clicks=["i4"],
    long_term_orders=["i5"],
    long_term_carts=["i6"],
    profile={"gender": "f"},
)


def read(example: bytes) -> dict[str, list[str]]:
    parsed = tf.train.Example.FromString(example).features.feature
    return {name: [value.decode() for value in feature.bytes_list.value] for name, feature in parsed.items()}


def test_tensorflow_reads_every_feature_under_its_schema_name():
    assert read(search_example("red shoes", "u42", EVERYTHING)) == {
        features.QUERY: ["red shoes"],
        features.USER_ID: ["u42"],
        features.HISTORY_QUERIES: ["shoes", "красные"],
        features.REAL_TIME_ITEMS: ["i1"],
        features.SHORT_TERM_ITEMS: ["i2", "i3"],
        features.LONG_TERM_CLICKS: ["i4"],
        features.LONG_TERM_ORDERS: ["i5"],
        features.LONG_TERM_CARTS: ["i6"],
        features.profile_feature("gender"): ["f"],
    }


def test_filters_are_written_where_they_are_set():
    plain = search_example("red")
    assert search_example("red", filters=Filters()) == plain
    filters = Filters(brands=("Nord", "Süd"), categories=("A > B",), exclude=("i1",), min_price=0.0, max_price=2.5)
    feature = tf.train.Example.FromString(search_example("red", filters=filters)).features.feature
    assert [v.decode() for v in feature[features.FILTER_BRAND].bytes_list.value] == ["Nord", "Süd"]
    assert list(feature[features.FILTER_CATEGORY].bytes_list.value) == [b"A > B"]
    assert list(feature[features.EXCLUDE_ITEMS].bytes_list.value) == [b"i1"]
    assert list(feature[features.FILTER_MIN_PRICE].float_list.value) == [0.0]
    assert list(feature[features.FILTER_MAX_PRICE].float_list.value) == [2.5]


def test_filters_of_one_column_are_written_as_one():
    columns = [*map(ColumnFilter.read, ("color=red", "color=blue", "rating>=4", "rating<=5"))]
    feature = tf.train.Example.FromString(search_example("lamp", filters=Filters(columns=columns))).features.feature
    assert list(feature[features.FILTER_CATEGORICAL_PREFIX + "color"].bytes_list.value) == [b"red", b"blue"]
    assert list(feature[features.FILTER_MIN_NUMERIC_PREFIX + "rating"].float_list.value) == [4.0]
    assert list(feature[features.FILTER_MAX_NUMERIC_PREFIX + "rating"].float_list.value) == [5.0]


@pytest.mark.parametrize(("asked", "written"), [(True, ["on"]), (False, ["off"])])
def test_relevance_control_is_written_where_it_is_decided(asked, written):
    assert read(search_example("red", relevance_control=asked))[features.RELEVANCE_CONTROL] == written


def test_retrieval_is_written_only_if_decided_and_must_be_known():
    assert read(search_example("red", retrieval="lexical"))[features.RETRIEVAL] == ["lexical"]
    with pytest.raises(InputError, match=r"no retrieval 'bm25'\. Give one of dense, lexical, hybrid"):
        search_example("red", retrieval="bm25")


@pytest.mark.parametrize("behavior", [None, Behavior()])
def test_what_is_not_known_is_left_out(behavior):
    assert read(search_example("red shoes", None, behavior)) == {features.QUERY: ["red shoes"]}


@pytest.mark.parametrize("query", ["", "  \t\n"])
def test_an_empty_query_is_refused(query):
    with pytest.raises(InputError, match="The query is empty"):
        search_example(query)


def test_a_behavior_knows_whether_it_says_anything():
    assert Behavior().empty
    assert not EVERYTHING.empty
    assert not Behavior(profile={"gender": "f"}).empty

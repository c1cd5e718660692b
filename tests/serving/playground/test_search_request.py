import json

import pytest

from schema import features
from schema.settings import InputError
from serving.playground.search_request import SearchRequest, Side, example_of
from souk_client.examples import Behavior, search_example
from souk_client.filters import Filters
from souk_client.protos import example_pb2

SIDE = {"model": "souk@localhost:8500"}


def _read(**values):
    return SearchRequest.read(json.dumps({"query": "lamp", "sides": [SIDE], **values}).encode())


def _features(serialized):
    found = example_pb2.Example.FromString(serialized).features.feature
    return {name: list(value.bytes_list.value) or list(value.float_list.value) for name, value in found.items()}


def test_what_is_not_set_has_no_feature():
    request = _read()
    assert _features(example_of(request, request.sides[0], None)) == {"query": [b"lamp"]}


def test_filters_are_sent_as_the_servable_reads_them():
    filters = {"brands": ["Zoë", "B"], "categories": ["A > B"], "exclude": ["i1"], "min_price": 0, "max_price": 9.5}
    request = _read(user="u1", relevance_control=True, filters=filters)
    behavior = Behavior(history_queries=["red"], profile={"gender": "f"})
    assert _features(example_of(request, request.sides[0], behavior)) == {
        "query": [b"lamp"],
        "user_id": [b"u1"],
        "history_queries": [b"red"],
        "profile_gender": [b"f"],
        "relevance_control": [b"on"],
        features.FILTER_BRAND: ["Zoë".encode(), b"B"],
        features.FILTER_CATEGORY: [b"A > B"],
        features.EXCLUDE_ITEMS: [b"i1"],
        "filter_min_price": [0.0],
        "filter_max_price": [9.5],
    }


def test_a_side_without_the_user_sends_nothing_of_the_user():
    request = _read(user="u1", sides=[{**SIDE, "personalized": False}])
    sent = example_of(request, request.sides[0], Behavior(history_queries=["red"]))
    assert _features(sent) == _features(search_example("lamp"))


def test_a_version_too_long_for_javascript_may_come_as_text():
    assert _read(sides=[{**SIDE, "version": str(2**63 - 1)}]).sides == (Side(model=SIDE["model"], version=2**63 - 1),)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sides": []}, "sides"),
        ({"sides": [SIDE] * 3}, "sides"),
        ({"sides": [{**SIDE, "version": -1}]}, "version"),
        ({"sides": [{**SIDE, "target": "evil:1"}]}, "target"),
        ({"k": 0}, "k: "),
        ({"k": 10**9}, "k: "),
        ({"filters": {"max_price": 1e308}}, "the most price must be a number"),
        ({"query": "a" * 1001}, "query"),
        ({"query": None}, "query"),
        ({"filters": {"min_price": "cheap"}}, "filters.min_price"),
        ({"filters": {"brands": [""]}}, "brands.0 must be a text"),
        ({"filters": {"exclude": ["i"] * 1001}}, "exclude must hold at most 1000"),
        ({"filters": {"colors": ["red"]}}, "filters.colors"),
        ({"filters": {"min_price": 5, "max_price": 2}}, "the least price 5 is above the most, 2"),
        ({"eval": "1+1"}, "eval"),
    ],
)
def test_a_request_that_is_wrong_is_refused_with_the_place(values, message):
    with pytest.raises(InputError) as caught:
        _read(**values)
    assert message in str(caught.value)
    assert str(caught.value).startswith("The search cannot be understood: ")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"query": NaN}', b"null"])
def test_a_body_that_is_no_request_is_refused(body):
    with pytest.raises(InputError, match="cannot be understood"):
        SearchRequest.read(body)


def test_an_infinite_price_is_refused():
    with pytest.raises(InputError, match="the most price"):
        _read(filters={"max_price": float("inf")})


def test_prices_of_one_value_are_a_range():
    assert Filters(min_price=2, max_price=2).min_price == 2

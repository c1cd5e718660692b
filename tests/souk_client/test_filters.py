import pytest

from souk_client import Filters, InputError


def test_filters_keep_what_they_are_given_whatever_the_sequence():
    filters = Filters(brands=["Nord", "Süd"], exclude=("i1",), min_price=2, max_price=2)
    assert (filters.brands, filters.exclude, filters.min_price) == (("Nord", "Süd"), ("i1",), 2)
    assert filters == Filters(brands=("Nord", "Süd"), exclude=["i1"], min_price=2.0, max_price=2.0)
    assert hash(filters) == hash(Filters(brands=("Nord", "Süd"), exclude=("i1",), min_price=2, max_price=2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"brands": "Nord"}, "brands must be a list of texts, got 'Nord'"),
        ({"categories": None}, "categories must be a list of texts, got None"),
        ({"exclude": {"i1"}}, "exclude must be a list of texts"),
        ({"brands": ["Nord", ""]}, "brands.1 must be a text of 1 to 1000 characters, got ''"),
        ({"brands": ["a" * 1001]}, "brands.0 must be a text"),
        ({"exclude": [7]}, "exclude.0 must be a text"),
        ({"exclude": ["i"] * 1001}, "exclude must hold at most 1000 texts, got 1001"),
        ({"min_price": "2"}, "min_price must be a number"),
        ({"min_price": True}, "min_price must be a number"),
        ({"max_price": float("nan")}, "max_price must be a number from -1e"),
        ({"max_price": float("inf")}, "max_price must be a number from -1e"),
        ({"max_price": 1e31}, "max_price must be a number from -1e"),
        ({"min_price": 5, "max_price": 2}, "the least price 5 is above the most, 2"),
    ],
)
def test_filters_that_cannot_be_sent_are_refused(values, message):
    with pytest.raises(InputError) as caught:
        Filters(**values)
    assert message in str(caught.value)

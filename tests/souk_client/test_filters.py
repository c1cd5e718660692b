import pytest

from souk_client import ColumnFilter, Filters, InputError


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
        ({"min_price": "2"}, "the least price must be a number"),
        ({"min_price": True}, "the least price must be a number"),
        ({"max_price": float("nan")}, "the most price must be a number from -1e"),
        ({"max_price": float("inf")}, "the most price must be a number from -1e"),
        ({"max_price": 1e31}, "the most price must be a number from -1e"),
        ({"min_price": 5, "max_price": 2}, "the least price 5 is above the most, 2"),
        ({"columns": [ColumnFilter("size", least=1), ColumnFilter("size", least=2)]}, "size has two bounds (least)"),
    ],
)
def test_filters_that_cannot_be_sent_are_refused(values, message):
    with pytest.raises(InputError) as caught:
        Filters(**values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("color=red", ColumnFilter("color", values=("red",))),
        (" shoe size = 42 = 9 ", ColumnFilter("shoe size", values=("42 = 9",))),
        ("rating>=4", ColumnFilter("rating", least=4.0)),
        ("rating <= -1e3", ColumnFilter("rating", most=-1000.0)),
    ],
)
def test_a_column_filter_is_read_from_a_text(text, expected):
    assert ColumnFilter.read(text) == expected


@pytest.mark.parametrize("text", ["", "color", "=red", "color=", "color>red", ">=4"])
def test_a_text_that_is_no_column_filter_is_refused(text):
    with pytest.raises(InputError, match="is no filter: give COLUMN=VALUE, COLUMN>=NUMBER"):
        ColumnFilter.read(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "the filter of size must have either values, or a least or most number"),
        ({"values": ("s",), "least": 1}, "the filter of size must have either"),
        ({"values": "red"}, "size must be a list of texts"),
        ({"least": float("nan")}, "the least size must be a number"),
        ({"least": 3, "most": 2}, "the least size 3 is above the most, 2"),
    ],
)
def test_column_filters_that_cannot_be_sent_are_refused(values, message):
    with pytest.raises(InputError) as caught:
        ColumnFilter("size", **values)
    assert message in str(caught.value)


def test_a_number_that_is_none_is_named():
    with pytest.raises(InputError, match="'rating>=high' compares rating with 'high', which is no number"):
        ColumnFilter.read("rating>=high")

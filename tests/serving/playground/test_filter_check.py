import pytest

from serving.playground.catalog import Item
from serving.playground.filter_check import FilterCheck, check_filters
from souk_client.client import Hit
from souk_client.filters import ColumnFilter, Filters

ITEMS = {
    "a": Item("A", "Nord", "Home > Kitchen > Kettles", "s", 10.1, {"color": "red, blue", "rating": "4.5"}),
    "b": Item("B", "Sud", "Home > Kitchenware", "s", 20.0, {"color": "blue", "rating": "3", "story": "b" * 200}),
    "c": Item("C", None, None, None, None),
}
HITS = [Hit(rank, item_id, 1.0) for rank, item_id in enumerate(["a", "b", "c", "stranger"], start=1)]


def test_an_unset_filter_is_not_checked():
    assert check_filters(Filters(), HITS, ITEMS) == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"brands": ["Nord"]}, ("brand", 1, 2, 1)),
        ({"brands": ["Nord", "Sud"]}, ("brand", 2, 1, 1)),
        ({"categories": ["Home > Kitchen"]}, ("category", 1, 2, 1)),
        ({"categories": ["Home"]}, ("category", 2, 1, 1)),
        ({"categories": ["Home > Kitchen > Kettles"]}, ("category", 1, 2, 1)),
        ({"min_price": 10.1}, ("price", 2, 1, 1)),
        ({"max_price": 10.1}, ("price", 1, 2, 1)),
        ({"min_price": 11, "max_price": 19}, ("price", 0, 3, 1)),
        ({"columns": [ColumnFilter("color", values=["red"])]}, ("color", 1, 1, 2)),
        ({"columns": [ColumnFilter("rating", least=4.5)]}, ("rating", 1, 1, 2)),
        ({"columns": [ColumnFilter("story", values=["long"])]}, ("story", 0, 0, 4)),
        ({"exclude": ["stranger", "b"]}, ("exclude", 2, 2, 0)),
    ],
)
def test_hits_are_held_against_each_filter(filters, expected):
    assert check_filters(Filters(**filters), HITS, ITEMS) == [FilterCheck(*expected)]


def test_a_price_at_the_bound_fits_despite_float32_rounding():
    items = {"a": Item(price=float("10.100000381469727"))}
    assert check_filters(Filters(max_price=10.1), HITS[:1], items) == [FilterCheck("price", 1, 0, 0)]


def test_without_a_catalog_only_excluded_items_can_be_told():
    filters = Filters(brands=["Nord"], exclude=["b"])
    assert check_filters(filters, HITS, {}) == [FilterCheck("brand", 0, 0, 4), FilterCheck("exclude", 3, 1, 0)]

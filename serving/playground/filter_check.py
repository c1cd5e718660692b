"""Whether a served model kept to the filters that it was sent.

A model of a version before filters ignores their features without a word: tf.Examples may hold what nobody reads.
So the hits themselves are looked at.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from schema import features
from serving.playground.catalog import SHOWN_CHARACTERS, Item
from souk_client.client import Hit
from souk_client.filters import ColumnFilter, Filters


@dataclass(frozen=True)
class FilterCheck:
    """How the hits of one answer stand to one filter.

    Attributes:
      name: brand, category, price, exclude, or a further column of the catalog.
      kept: hits that the filter allows.
      broken: hits that it should have left out.
      unknown: hits of which it cannot be told, as the catalog does not have them.
    """

    name: str
    kept: int
    broken: int
    unknown: int


def check_filters(filters: Filters, hits: Sequence[Hit], items: Mapping[str, Item]) -> list[FilterCheck]:
    """One check for each filter that is set."""
    checks = []
    for name, allows in _rules(filters):
        found = [allows(hit.item_id, items.get(hit.item_id)) for hit in hits]
        checks.append(FilterCheck(name, found.count(True), found.count(False), found.count(None)))
    return checks


def _rules(filters: Filters) -> Iterator[tuple[str, Callable[[str, Item | None], bool | None]]]:
    if filters.brands:
        yield "brand", _if_known(lambda item: item.brand in filters.brands)
    if filters.categories:
        yield "category", _if_known(lambda item: any(_under(item.category or "", node) for node in filters.categories))
    if filters.min_price is not None or filters.max_price is not None:
        yield "price", _if_known(lambda item: _within(item.price, filters.min_price, filters.max_price))
    for one in filters.columns:
        yield one.column, _if_known(partial(_says, one))
    if filters.exclude:
        yield "exclude", lambda item_id, _: item_id not in filters.exclude


def _if_known(rule: Callable[[Item], bool | None]) -> Callable[[str, Item | None], bool | None]:
    return lambda _, item: None if item is None else rule(item)


def _says(wanted: ColumnFilter, item: Item) -> bool | None:
    """Whether an item's column meets a filter; None where the catalog does not say, or not all of it is kept."""
    text = item.further.get(wanted.column)
    if text is None or len(text) >= SHOWN_CHARACTERS:
        return None
    if wanted.values:
        return not {text, *text.split(", ")}.isdisjoint(wanted.values)
    try:
        return _within(float(text), wanted.least, wanted.most)
    except ValueError:
        return None


def _under(category: str, node: str) -> bool:
    return category == node or category.startswith(node + features.CATEGORY_SEPARATOR)


def _within(price: float | None, least: float | None, most: float | None) -> bool:
    # An item without a price is in no range. The servable compares in float32, so this does too.
    if price is None:
        return False
    return (least is None or _float32(price) >= _float32(least)) and (most is None or _float32(price) <= _float32(most))


def _float32(value: float) -> float:
    found: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return found

"""Which items may be in an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from souk_client.errors import InputError

_MAX_VALUES: Final = 1000
_MAX_CHARACTERS: Final = 1000
# Sent as float32, which ends at 3.4e38.
_MAX_PRICE: Final = 1e30


@dataclass(frozen=True)
class Filters:
    """Which items may be in an answer; what is empty or None filters nothing.

    Attributes:
      brands: of which an item must have one.
      categories: paths from the root ("Fashion > Shoes"), of which an item must be under one.
      exclude: ids of items to leave out.
      min_price, max_price: least and most, both included; an item without a price is in no range.

    Raises:
      InputError: for a value of another type, an empty or a long text, too many of them, prices that are no range.
    """

    brands: Sequence[str] = ()
    categories: Sequence[str] = ()
    exclude: Sequence[str] = ()
    min_price: float | None = None
    max_price: float | None = None

    def __post_init__(self) -> None:
        for name in ("brands", "categories", "exclude"):
            object.__setattr__(self, name, _checked_texts(name, getattr(self, name)))
        for name in ("min_price", "max_price"):
            _check_price(name, getattr(self, name))
        if self.min_price is not None and self.max_price is not None and self.min_price > self.max_price:
            raise InputError(f"the least price {self.min_price:g} is above the most, {self.max_price:g}")


def _checked_texts(name: str, values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f"{name} must be a list of texts, got {values!r}")
    if len(values) > _MAX_VALUES:
        raise InputError(f"{name} must hold at most {_MAX_VALUES} texts, got {len(values)}")
    for place, text in enumerate(values):
        if not isinstance(text, str) or not 1 <= len(text) <= _MAX_CHARACTERS:
            raise InputError(f"{name}.{place} must be a text of 1 to {_MAX_CHARACTERS} characters, got {text!r:.80}")
    return tuple(values)


def _check_price(name: str, price: float | None) -> None:
    if price is None:
        return
    if isinstance(price, bool) or not isinstance(price, int | float) or not -_MAX_PRICE <= price <= _MAX_PRICE:
        raise InputError(f"{name} must be a number from {-_MAX_PRICE:g} to {_MAX_PRICE:g}, got {price!r}")

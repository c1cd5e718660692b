"""Which items may be in an answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from souk_client.errors import InputError

_MAX_VALUES: Final = 1000
_MAX_CHARACTERS: Final = 1000
# Sent as float32, which ends at 3.4e38.
_MAX: Final = 1e30
_CONDITION: Final = re.compile(r"\s*([^<>=]*[^<>=\s])\s*(=|>=|<=)\s*(\S.*)", re.DOTALL)


@dataclass(frozen=True)
class ColumnFilter:
    """What a further column of the catalog must say of an item.

    A model that was not trained with the column does not know the filter, and ignores it.

    Attributes:
      column: as `ingest.data.catalog_columns` names it.
      values: of a categorical column, of which an item must have one.
      least, most: of a numeric column, both included; an item without a number is in no range.

    Raises:
      InputError: where it says nothing, or what cannot be sent.
    """

    column: str
    values: Sequence[str] = ()
    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        _checked_texts("column", [self.column])
        object.__setattr__(self, "values", _checked_texts(self.column, self.values))
        _check_range(self.column, self.least, self.most)
        if bool(self.values) == (self.least is not None or self.most is not None):
            raise InputError(f"the filter of {self.column} must have either values, or a least or most number")

    @classmethod
    def read(cls, text: str) -> Self:
        """The filter that a text such as `color=red`, `rating>=4` or `rating<=5` says.

        Raises:
          InputError: where it is none.
        """
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise InputError(f"{text!r} is no filter: give COLUMN=VALUE, COLUMN>=NUMBER or COLUMN<=NUMBER")
        column, kind, given = found[1], found[2], found[3].rstrip()
        if kind == "=":
            return cls(column, values=(given,))
        try:
            number = float(given)
        except ValueError:
            raise InputError(f"{text!r} compares {column} with {given!r}, which is no number") from None
        return cls(column, least=number) if kind == ">=" else cls(column, most=number)


@dataclass(frozen=True)
class Filters:
    """Which items may be in an answer; what is empty or None filters nothing.

    Attributes:
      brands: of which an item must have one.
      categories: paths from the root ("Fashion > Shoes"), of which an item must be under one.
      exclude: ids of items to leave out.
      min_price, max_price: least and most, both included; an item without a price is in no range.
      columns: filters by further columns, all of which must be met but for values of one column, of which one will do.

    Raises:
      InputError: for a value of another type, an empty or a long text, too many of them, prices that are no range, two
        bounds of one side of one column.
    """

    brands: Sequence[str] = ()
    categories: Sequence[str] = ()
    exclude: Sequence[str] = ()
    min_price: float | None = None
    max_price: float | None = None
    columns: Sequence[ColumnFilter] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        for name in ("brands", "categories", "exclude"):
            object.__setattr__(self, name, _checked_texts(name, getattr(self, name)))
        _check_range("price", self.min_price, self.max_price)
        for side in ("least", "most"):
            bounded = [one.column for one in self.columns if getattr(one, side) is not None]
            twice = next((column for column in bounded if bounded.count(column) > 1), None)
            if twice is not None:
                raise InputError(f"{twice} has two bounds ({side}): give one")


def _checked_texts(name: str, values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f"{name} must be a list of texts, got {values!r}")
    if len(values) > _MAX_VALUES:
        raise InputError(f"{name} must hold at most {_MAX_VALUES} texts, got {len(values)}")
    for place, text in enumerate(values):
        if not isinstance(text, str) or not 1 <= len(text) <= _MAX_CHARACTERS:
            raise InputError(f"{name}.{place} must be a text of 1 to {_MAX_CHARACTERS} characters, got {text!r:.80}")
    return tuple(values)


def _check_range(name: str, least: float | None, most: float | None) -> None:
    for side, number in (("least", least), ("most", most)):
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int | float) or not -_MAX <= number <= _MAX:
            raise InputError(f"the {side} {name} must be a number from {-_MAX:g} to {_MAX:g}, got {number!r}")
    if least is not None and most is not None and least > most:
        raise InputError(f"the least {name} {least:g} is above the most, {most:g}")

"""Which items may be in an answer."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schema.settings import Settings

_Texts = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...], Field(max_length=1000)]
# Sent as float32, which ends at 3.4e38.
_Price = Annotated[float, Field(allow_inf_nan=False, ge=-1e30, le=1e30)]


class Filters(Settings):
    """Which items may be in an answer; what is empty or None filters nothing.

    Attributes:
      brands: of which an item must have one.
      categories: paths from the root ("Fashion > Shoes"), of which an item must be under one.
      exclude: ids of items to leave out.
      min_price, max_price: least and most, both included; an item without a price is in no range.
    """

    brands: _Texts = ()
    categories: _Texts = ()
    exclude: _Texts = ()
    min_price: _Price | None = None
    max_price: _Price | None = None

    @model_validator(mode="after")
    def _prices_are_a_range(self) -> Self:
        if self.min_price is not None and self.max_price is not None and self.min_price > self.max_price:
            raise ValueError(f"the least price {self.min_price:g} is above the most, {self.max_price:g}")
        return self

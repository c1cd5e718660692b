"""Random items of a category, of a brand within it, or new in it, drawn for many requests at once."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from marketplace.catalog import NONE, Catalog


@dataclass(frozen=True)
class Shelves:
    """The items sorted by leaf and brand, and by leaf and first day on sale."""

    leaves: int
    by_brand: np.ndarray
    brand_key: np.ndarray
    brand_stride: int
    appeal: np.ndarray
    by_day: np.ndarray
    day_key: np.ndarray
    day_stride: int

    @classmethod
    def of(cls, catalog: Catalog) -> Self:
        """The shelves of a catalog."""
        leaf = catalog.leaf.astype(np.int64)
        brand_stride = len(catalog.brand_names) + 1
        day_stride = int(catalog.available_day.max()) + 2
        brand_key = leaf * brand_stride + catalog.brand + 1
        day_key = leaf * day_stride + catalog.available_day
        by_brand = np.argsort(brand_key, kind="stable")
        by_day = np.argsort(day_key, kind="stable")
        appeal = np.concatenate([[0.0], np.cumsum(np.exp(0.5 * catalog.popularity[by_brand].astype(float)))])
        return cls(
            leaves=len(catalog.paths),
            by_brand=by_brand.astype(np.int32),
            brand_key=brand_key[by_brand],
            brand_stride=brand_stride,
            appeal=appeal,
            by_day=by_day.astype(np.int32),
            day_key=day_key[by_day],
            day_stride=day_stride,
        )

    def of_leaf(self, leaf: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
        """Items of each leaf, any as likely as another, NONE where the leaf is NONE [requests, width]."""
        return self._between(leaf * self.brand_stride, (leaf + 1) * self.brand_stride, leaf != NONE, width, rng)

    def of_brand(self, leaf: np.ndarray, brand: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
        """Items of each brand within a leaf, NONE where there is none [requests, width]."""
        low = leaf * self.brand_stride + brand + 1
        return self._between(low, low + 1, (leaf != NONE) & (brand != NONE), width, rng)

    def popular_of_leaf(self, leaf: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
        """Items of each leaf, the popular ones more often, NONE where the leaf is NONE [requests, width]."""
        low = np.searchsorted(self.brand_key, leaf * self.brand_stride)
        high = np.searchsorted(self.brand_key, (leaf + 1) * self.brand_stride)
        valid = (leaf != NONE) & (high > low)
        span = self.appeal[high] - self.appeal[low]
        point = self.appeal[low][:, None] + rng.random((len(leaf), width)) * span[:, None]
        place = np.searchsorted(self.appeal, point, side="right") - 1
        place = np.clip(place, low[:, None], np.maximum(high - 1, low)[:, None])
        return np.where(valid[:, None], self.by_brand[np.minimum(place, len(self.by_brand) - 1)], NONE)

    def new_in_leaf(self, leaf: np.ndarray, day: int, window: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """Items of each leaf that went on sale within `window` days up to `day`, else NONE [requests, width]."""
        first = max(1, day - window + 1)
        low = np.searchsorted(self.day_key, leaf * self.day_stride + min(first, self.day_stride - 1))
        high = np.searchsorted(self.day_key, leaf * self.day_stride + min(day + 1, self.day_stride - 1))
        return self._pick(self.by_day, low, high, leaf != NONE, width, rng)

    def _between(
        self, low_key: np.ndarray, high_key: np.ndarray, valid: np.ndarray, width: int, rng: np.random.Generator
    ) -> np.ndarray:
        low, high = np.searchsorted(self.brand_key, low_key), np.searchsorted(self.brand_key, high_key)
        return self._pick(self.by_brand, low, high, valid, width, rng)

    @staticmethod
    def _pick(
        order: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        valid: np.ndarray,
        width: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        place = low[:, None] + (rng.random((len(low), width)) * (high - low)[:, None]).astype(np.int64)
        valid = valid & (high > low)
        return np.where(valid[:, None], order[np.minimum(place, len(order) - 1)], NONE)

"""How large the id spaces are that a model has embeddings of."""

from dataclasses import dataclass, field

from schema import features, transformed


@dataclass(frozen=True)
class InputSizes:
    """How many ids each vocabulary has, out-of-vocabulary ids included.

    Attributes:
      unigrams, bigrams, phrases: token id spaces; segments have that of unigrams and then that of phrases.
      items: id space of items.
      brand, leaf_category, top_category, shop: id spaces of the item's fields.
      profile: id space of each `profile_*` feature by name.
      columns: id space of each further column of the catalog by name; of `text_*` ones that of unigrams.
    """

    unigrams: int
    bigrams: int
    phrases: int
    items: int
    brand: int
    leaf_category: int
    top_category: int
    shop: int
    profile: dict[str, int]
    columns: dict[str, int] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the catalog's text columns."""
        return tuple(name for name in self.columns if name.startswith(features.TEXT_PREFIX))

    @property
    def categories(self) -> dict[str, int]:
        """Id space of each one-valued item feature by feature name."""
        return {
            features.BRAND: self.brand,
            features.LEAF_CATEGORY: self.leaf_category,
            features.TOP_CATEGORY: self.top_category,
            features.SHOP: self.shop,
            transformed.PRICE_BUCKET: transformed.PRICE_BUCKETS,
            **{name: size for name, size in self.columns.items() if name not in self.texts},
        }

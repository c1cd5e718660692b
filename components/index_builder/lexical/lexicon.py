"""All that a servable finds items by their words with."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from components.index_builder.attributes import ItemAttributes
from components.index_builder.lexical.config import LexicalConfig
from components.index_builder.lexical.postings import Field, Postings
from schema import features


@dataclass(frozen=True)
class MeasuredWeight:
    """One weight of the dense score, and what hybrid answers to validation requests were like with it.

    Attributes:
      dense_weight: 0 is lexical retrieval alone, 1 dense retrieval alone.
      ndcg, recall: means over the requests at the index's k; an item that was clicked or better is relevant.
    """

    dense_weight: float
    ndcg: float
    recall: float


@dataclass(frozen=True)
class Lexicon:
    """Posting lists, and how lexical scores are fused with dense ones.

    Attributes:
      postings: of the items.
      fold_plurals: whether plurals count as their singular.
      longest_vector: the largest length of a vector of the catalog.
      dense_weight: what the dense score counts in a hybrid answer.
      weight_curve: every measured weight; empty where it was not chosen by measuring.
    """

    postings: Postings
    fold_plurals: bool
    longest_vector: float
    dense_weight: float
    weight_curve: list[MeasuredWeight] = field(default_factory=list)

    def of(self, positions: NDArray[np.integer]) -> "Lexicon":
        """Of some of the items, ascending positions; scores stay what they are among all items."""
        return replace(self, postings=self.postings.of(positions))


def fields_of(attributes: ItemAttributes, titles: Sequence[bytes], config: LexicalConfig) -> list[Field]:
    """The fields of items in which queries are found."""
    fields = (
        (features.TITLE, config.title, titles),
        (features.BRAND, config.brand, attributes.brands),
        (features.CATEGORY_PATH, config.category_path, attributes.category_paths),
    )
    return [Field(name, settings.weight, settings.b, texts) for name, settings, texts in fields if settings.weight]

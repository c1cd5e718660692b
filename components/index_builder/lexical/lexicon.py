"""All that a servable finds items by their words with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from components.index_builder.attributes import ItemAttributes
from components.index_builder.lexical.config import LexicalConfig, LexicalFieldConfig
from components.index_builder.lexical.postings import Field, Postings, Texts
from schema import features


@dataclass(frozen=True)
class MeasuredWeight:
    """One weight of the dense score, and what hybrid answers to validation requests were like with it.

    Attributes:
      dense_weight: 0 is lexical retrieval alone, 1 dense retrieval alone.
      ndcg, recall: means over the requests at the index's k; an item that was clicked or better is relevant.
      behind: by how much `ndcg` is less than that of the best weight; error: the standard error of this difference.
    """

    dense_weight: float
    ndcg: float
    recall: float
    behind: float
    error: float


@dataclass(frozen=True)
class Lexicon:
    """Posting lists, and how lexical scores are fused with dense ones.

    Attributes:
      postings: of the items.
      fold_plurals: whether plurals count as their singular.
      longest_vector: the largest length of a vector of the catalog.
      dense_weight: what the dense score counts in a hybrid answer.
      weight_curve: every measured weight; empty where it was not chosen by measuring.
      clicked_queries: by the position of an item, the queries that led to it, a line for each; empty where not known.
    """

    postings: Postings
    fold_plurals: bool
    longest_vector: float
    dense_weight: float
    weight_curve: list[MeasuredWeight] = field(default_factory=list)
    clicked_queries: Sequence[bytes] = ()

    def of(self, positions: NDArray[np.integer]) -> "Lexicon":
        """Of some of the items, ascending positions; scores stay what they are among all items."""
        queries = [self.clicked_queries[position] for position in positions] if self.clicked_queries else ()
        return replace(self, postings=self.postings.of(positions), clicked_queries=queries)


def fields_of(
    attributes: ItemAttributes,
    texts: Mapping[str, Texts],
    clicked_queries: Texts,
    config: LexicalConfig,
) -> list[Field]:
    """The fields of items in which queries are found.

    Args:
      attributes: brands and category paths.
      texts: title and further columns of the catalog, by feature name.
      clicked_queries: that led to each item.
      config: what each field counts.
    """
    fields: list[tuple[str, LexicalFieldConfig, Texts, bool]] = [
        (features.BRAND, config.brand, attributes.brands, True),
        (features.CATEGORY_PATH, config.category_path, attributes.category_paths, True),
        ("clicked_queries", config.clicked_queries, clicked_queries, False),
    ]
    for name, values in texts.items():
        if name.startswith(features.TEXT_PREFIX):
            # A long text has many pairs of neighbors, and few of them are a phrase.
            fields.append((name, config.text_columns, values, False))
        else:
            fields.append((name, config.title if name == features.TITLE else config.categorical_columns, values, True))
    return [
        Field(name, settings.weight, settings.b, values, joined)
        for name, settings, values, joined in fields
        if settings.weight
    ]

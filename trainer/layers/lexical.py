"""The part of a text vector that is its words and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from trainer.layers.embedding import EmbeddedLists, PaddedEmbedding


@dataclass(frozen=True)
class Bag:
    """A bag of terms of each text of a batch.

    Attributes:
      terms: their ids, embedded.
      space: name of the id space that the ids are of.
      field: name of the text's field, which has a weight of its own; None counts fully.
    """

    terms: EmbeddedLists
    space: str
    field: str | None = None


class LexicalSkip(keras.layers.Layer):
    """A weighted sum of term embeddings, mapped linearly and alike for queries and items.

    Added to the last layer of both towers, it makes them start as a bag-of-words match and learn what differs from it.
    Without it a rare term must survive two separately learned networks to count, so that new items and rare queries
    are found worse than by BM25. Each term's weight is learned, and starts from `start_from_frequencies`; so is each
    field's. [ours]

    Args:
      spaces: by name of an id space how many ids it has, padding not counted.
      fields: by name of a field its weight before training.
      dim: width of the result.
    """

    def __init__(self, spaces: Mapping[str, int], fields: Mapping[str, float], dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        self._weights = {name: PaddedEmbedding(size, 1, name=f"{name}_weights") for name, size in spaces.items()}
        self._fields = {
            name: self.add_weight(
                name=f"{name}_weight", shape=[], initializer=keras.initializers.Constant(_softplus_inverse(weight))
            )
            for name, weight in fields.items()
        }
        self._map = keras.layers.Dense(dim, use_bias=False, kernel_initializer="orthogonal")

    def start_from_frequencies(
        self, space: str, document_frequency: np.ndarray, documents: int, shares: np.ndarray
    ) -> None:
        """Sets each term's weight to the root of its inverse document frequency, times its share.

        The weight counts on both sides, so that a term that query and item have in common adds its inverse document
        frequency to the score, as in BM25, and an item's length counts by the root, close to BM25's b = 0.75.

        Args:
          space: the id space.
          document_frequency: [ids + 1], items that hold each term, by id.
          documents: how many items there are.
          shares: [ids + 1] or one for all, how much each term is to count beside others of its rarity.
        """
        weight = rarity(document_frequency, documents) * shares
        self._weights[space].table.assign(_softplus_inverse(weight)[:, np.newaxis])

    def call(self, bags: Sequence[Bag]) -> tf.Tensor:
        """Unit vectors of texts, zero for an empty one.

        Args:
          bags: the bags of the same row, one of each, make one text.

        Returns:
          [batch, dim].
        """
        return self.of_sum(tf.add_n([self._sum(bag) for bag in bags]))

    def of_sum(self, total: tf.Tensor) -> tf.Tensor:
        """As `call`, of the weighted sum of all terms, [batch, embedding_dim]."""
        return tf.math.l2_normalize(self._map(total), axis=-1, epsilon=1e-12)

    def weights(self, space: str) -> np.ndarray:
        """What each term of an id space counts, [ids + 1]."""
        return tf.nn.softplus(self._weights[space].table).numpy()[:, 0]

    def _sum(self, bag: Bag) -> tf.Tensor:
        total = bag.terms.sum(tf.nn.softplus(self._weights[bag.space].rows(bag.terms.ids)))
        return total if bag.field is None else total * tf.nn.softplus(self._fields[bag.field])


def rarity(document_frequency: np.ndarray, documents: int) -> np.ndarray:
    """The root of the inverse document frequency of terms; one of no document counts as seen half a time.

    Args:
      document_frequency: [terms], documents that hold each.
      documents: how many there are.
    """
    return np.sqrt(np.log1p(documents / np.maximum(document_frequency, 0.5)))


def _softplus_inverse(weight: np.ndarray | float) -> np.ndarray:
    # Softplus keeps weights above zero.
    return np.log(np.expm1(weight))

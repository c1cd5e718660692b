"""Relevance control: hits must be of the brands and categories that the query names (MGDSPR, arXiv 2106.09297).

Embeddings find what is near, which for "nike shoes" may be another maker's shoes. So more than k hits are retrieved and
matched against what `trainer.query_understanding` makes of the query, as Boolean retrieval would. A query that has too
few such hits is answered as if nothing had been asked.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import tensorflow as tf

from components.index_builder.config import RelevanceControlConfig
from components.index_builder.search_index import when
from schema.features import RelevanceControl
from trainer.query_understanding import FIELDS, QueryUnderstanding, understand

# What a request may say, in any case of letters.
_ON: Final = "on"
_OFF: Final = "off"

Hits = tuple[tf.Tensor, tf.Tensor]
# Gives the k best hits of the requests at these places of the batch: positions [requests, k], -1 for none, and scores.
Search = Callable[[tf.Tensor, int], Hits]


def asked_for(values: tf.RaggedTensor, default: bool) -> tf.Tensor:
    """Whether requests ask for relevance control, [batch] bool; `default` for those that do not say clearly.

    Args:
      values: the request feature, [batch, (values)] string; only the first value of each counts.
      default: the servable's setting.
    """
    said = tf.strings.lower(tf.strings.strip(values.to_tensor("", shape=[None, 1])[:, 0]))
    return said != _OFF if default else said == _ON


def names_anything(allowed: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Whether queries name any brand or category, [batch] bool."""
    return tf.reduce_any(tf.concat([values > 0 for values in allowed.values()], axis=1), axis=1)


def matches(allowed: Mapping[str, tf.Tensor], items: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Whether hits are of what their query names, in every field of which it names anything: [batch, hits] bool.

    Args:
      allowed: by field, [batch, (values)] int32 with 0s in between; all 0 where the query names nothing.
      items: by field, [batch, hits] int32, 0 for an item that lacks the field.
    """
    kept = []
    for name, values in allowed.items():
        held = items[name][:, :, tf.newaxis] == tf.where(values > 0, values, -1)[:, tf.newaxis]
        kept.append(tf.reduce_any(held, axis=2) | ~tf.reduce_any(values > 0, axis=1, keepdims=True))
    return tf.reduce_all(tf.stack(kept), axis=0)


def first_kept(kept: tf.Tensor, positions: tf.Tensor, scores: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The first k hits that are kept, in their order: positions [batch, k], -1 for none, and scores, -inf there.

    Args:
      kept: [batch, hits] bool.
      positions: [batch, hits] int32.
      scores: [batch, hits] float32.
      k: at most the number of hits.
    """
    order = tf.argsort(tf.cast(~kept, tf.int32), axis=1, stable=True)[:, :k]
    kept, positions, scores = (tf.gather(values, order, batch_dims=1) for values in (kept, positions, scores))
    return tf.where(kept, positions, -1), tf.where(kept, scores, float("-inf"))


class RelevanceFilter(tf.Module):
    """Answers queries, with relevance control where it is asked for.

    Args:
      understanding: what terms say; None for a model that was trained without.
      columns: of the item table, by field of `FIELDS`, [items + 1] int32.
      indexed_rows: [indexed] int32, table rows by index position.
      config: how much to retrieve, and when to give up.
    """

    def __init__(
        self,
        understanding: QueryUnderstanding | None,
        columns: Mapping[str, np.ndarray],
        indexed_rows: np.ndarray,
        config: RelevanceControlConfig,
    ):
        super().__init__()
        self._config = config
        self._indexed = len(indexed_rows)
        self._available = understanding is not None
        if understanding is not None:
            self._arrays = {name: tf.Variable(a, trainable=False) for name, a in understanding.arrays().items()}
            self._values = {name: tf.Variable(columns[name][indexed_rows], trainable=False) for name in FIELDS}

    @property
    def available(self) -> bool:
        """Whether there can be any relevance control at all."""
        return self._available

    def retrieve(
        self, plain: Hits, search: Search, units: tf.Tensor, bigrams: tf.Tensor, wanted: tf.Tensor, k: int
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The k best hits: positions [batch, k], -1 for none, scores [batch, k] and what was done [batch] string.

        Nothing is spent on relevance control where no request of a batch wants it.

        Args:
          plain: the k best hits of all requests.
          search: finds hits of any of the requests.
          units: [batch, width] int32 unigrams of the queries, as `understand` reads them.
          bigrams: [batch, width + 1] int32.
          wanted: [batch] bool.
          k: at most the number of indexed items.
        """
        positions, scores = plain
        done = tf.fill(tf.shape(wanted), RelevanceControl.OFF)
        if not self._available:
            return positions, scores, done

        def control() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            allowed = understand(self._arrays, units, bigrams)
            named = wanted & names_anything(allowed)
            said = tf.where(wanted, RelevanceControl.NOTHING_NAMED, done)
            return when(
                tf.reduce_any(named),
                lambda: self._filtered(search, allowed, named, (positions, scores, said), k),
                lambda: (positions, scores, said),
            )

        return when(tf.reduce_any(wanted), control, lambda: (positions, scores, done))

    def _filtered(
        self,
        search: Search,
        allowed: Mapping[str, tf.Tensor],
        named: tf.Tensor,
        plain: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
        k: int,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The plain answers with those rows replaced whose query names something and has enough hits that match."""
        asking = tf.where(named)[:, 0]
        positions, scores = search(asking, min(self._indexed, k * self._config.overfetch))
        found = positions >= 0
        items = {name: tf.gather(values, tf.maximum(positions, 0)) for name, values in self._values.items()}
        kept = found & matches({name: tf.gather(values, asking) for name, values in allowed.items()}, items)
        enough = tf.math.count_nonzero(kept, axis=1) >= self._config.min_hits
        positions, scores = first_kept(kept, positions, scores, k)
        done = tf.where(enough, RelevanceControl.APPLIED, RelevanceControl.FALLBACK)
        # Rows without enough hits keep the plain answer and get the flag alone.
        rows, answered = asking[:, tf.newaxis], tf.boolean_mask(asking, enough)[:, tf.newaxis]
        return (
            tf.tensor_scatter_nd_update(plain[0], answered, tf.boolean_mask(positions, enough)),
            tf.tensor_scatter_nd_update(plain[1], answered, tf.boolean_mask(scores, enough)),
            tf.tensor_scatter_nd_update(plain[2], rows, done),
        )

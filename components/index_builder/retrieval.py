"""Dense, lexical and hybrid retrieval, as each request of a batch asks for."""

from typing import Final, NamedTuple

import tensorflow as tf

from components.index_builder.filters import Conditions, ItemFilters
from components.index_builder.lexical.fusion import dense_scores, fuse, union
from components.index_builder.lexical.index import LexicalIndex, LexicalQuery
from components.index_builder.multi_head import search_heads
from components.index_builder.search_index import SearchIndex, choose, once, when
from schema.features import Retrieval

# The kinds of retrieval as numbers.
KINDS: Final = Retrieval.ALL
DENSE, LEXICAL, HYBRID = range(len(KINDS))


def kinds_asked_for(values: tf.RaggedTensor, default: str) -> tf.Tensor:
    """The kind of retrieval that requests ask for, [batch] int32, places in `KINDS`.

    Args:
      values: the request feature, [batch, (values)] string, in any case; only the first value of each counts.
      default: for requests that do not name one of the kinds.
    """
    said = tf.strings.lower(tf.strings.strip(values.to_tensor("", shape=[None, 1])))
    # The default comes first: of equal values the first is the largest, also where none is named.
    order = [KINDS.index(default), *(kind for kind in range(len(KINDS)) if KINDS[kind] != default)]
    named = said == tf.constant([KINDS[kind] for kind in order])
    return tf.gather(tf.constant(order), tf.argmax(tf.cast(named, tf.int32), axis=1))


class Query(NamedTuple):
    """Requests as they are searched.

    Attributes:
      kinds: [batch] int32, places in `KINDS`.
      vectors: [batch, heads, dim] float32; anything, where no request asks for dense retrieval.
      lexical: their terms; anything, where all ask for dense retrieval.
      conditions: of the hits; empty where there are none.
    """

    kinds: tf.Tensor
    vectors: tf.Tensor
    lexical: LexicalQuery
    conditions: Conditions | tuple[()]

    def of(self, requests: tf.Tensor) -> "Query":
        """Some of the requests, by their place in the batch."""
        return Query(
            tf.gather(self.kinds, requests),
            tf.gather(self.vectors, requests),
            LexicalQuery(*(tf.gather(part, requests) for part in self.lexical)),
            self.conditions.of(requests) if self.conditions else (),
        )


class Retriever(tf.Module):
    """Finds the best items for requests.

    Args:
      index: of the items' vectors.
      filters: over the same items.
      lexical: of their words.
      postings_per_term: how many items of each term are scored.
      dense_weight: what the dense score counts in a hybrid answer.
      longest: the largest length of a vector in the catalog.
    """

    def __init__(
        self,
        index: SearchIndex,
        filters: ItemFilters,
        lexical: LexicalIndex,
        postings_per_term: int,
        dense_weight: float,
        longest: float,
    ):
        super().__init__()
        self._index = index
        self._filters = filters
        self._lexical = lexical
        self._depth = postings_per_term
        self._dense_weight = dense_weight
        self._longest = longest

    def search_alike(
        self, kind: int, vectors: tf.Tensor, lexical: LexicalQuery | None, k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As `search`, for requests without conditions that all ask for the same kind of retrieval.

        Args:
          kind: place in `KINDS`.
          vectors: [batch, heads, dim] float32; not read by lexical retrieval.
          lexical: their terms; not read by dense retrieval.
          k: at most the number of indexed items.
        """
        if kind == DENSE:
            return search_heads(self._index, vectors, k)
        assert lexical is not None
        if kind == LEXICAL:
            requests: tuple = (lexical,)

            def find(one: tuple) -> tuple[tf.Tensor, tf.Tensor]:
                return self._lexical.best(self._lexical.scores(one[0], self._depth), k)
        else:
            requests = (lexical, vectors, search_heads(self._index, vectors, k)[0])

            def find(one: tuple) -> tuple[tf.Tensor, tf.Tensor]:
                terms, heads, hits = one
                return self._fused(self._lexical.scores(terms, self._depth), heads, self._dense_weight, hits, k)

        find = once(find)

        def find_one() -> tuple[tf.Tensor, tf.Tensor]:
            found = find(tf.nest.map_structure(lambda part: part[0], requests))
            return tuple(part[tf.newaxis] for part in found)

        def find_all() -> tuple[tf.Tensor, tf.Tensor]:
            kinds = (tf.TensorSpec([k], tf.int32), tf.TensorSpec([k], tf.float32))
            return tf.map_fn(find, requests, fn_output_signature=kinds)

        # A loop costs more than what it repeats, and most requests come alone.
        return choose(tf.cast(tf.shape(lexical.terms)[0] != 1, tf.int32), [find_one, find_all])

    def search(self, query: Query, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The k best items of each request.

        Nothing is spent on the words of requests, or on their vectors, where none of them asks for it.

        Args:
          query: the requests.
          k: at most the number of indexed items.

        Returns:
          Positions [batch, k] int32, -1 where there are fewer, and scores [batch, k] float32, -inf there. A dense score
          is the inner product with the best head, a lexical one the share of the best possible, a hybrid one of both.
        """
        shape, width = tf.stack([tf.size(query.kinds), k]), k if isinstance(k, int) else None
        nothing = tf.fill(shape, -1), tf.fill(shape, float("-inf"))

        def dense() -> tuple[tf.Tensor, tf.Tensor]:
            # Of all, also where a few of the batch do not ask: who asks alone pays for no selection.
            positions, scores = self._dense(query, k)
            asked = query.kinds[:, tf.newaxis] != LEXICAL
            return tf.where(asked, positions, -1), tf.where(asked, scores, float("-inf"))

        def with_lexical() -> tuple[tf.Tensor, tf.Tensor]:
            rows = tf.where(query.kinds != DENSE)[:, 0]
            new = tf.map_fn(
                lambda one: self._fused(
                    self._lexical_scores(one[0]),
                    one[0].vectors,
                    tf.where(one[0].kinds == LEXICAL, 0.0, self._dense_weight),
                    one[1],
                    k,
                ),
                (query.of(rows), tf.gather(found[0], rows)),
                fn_output_signature=(tf.TensorSpec([width], tf.int32), tf.TensorSpec([width], tf.float32)),
            )
            positions, scores = (
                tf.tensor_scatter_nd_update(a, rows[:, tf.newaxis], b) for a, b in zip(found, new, strict=True)
            )
            return positions, scores

        found = when(tf.reduce_any(query.kinds != LEXICAL), dense, lambda: nothing)
        return when(tf.reduce_any(query.kinds != DENSE), with_lexical, lambda: found)

    def _dense(self, query: Query, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if not query.conditions:
            return search_heads(self._index, query.vectors, k)
        return self._filters.search(query.vectors, query.conditions, k)

    def _fused(
        self,
        all_scores: tf.Tensor,
        vectors: tf.Tensor,
        dense_weight: float | tf.Tensor,
        dense_hits: tf.Tensor,
        k: int | tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The k best of one request, of whose dense hits [k] and lexical scores of all items are known; [k] each."""
        positions, counts = union(dense_hits, self._lexical.best(all_scores, k)[0])
        lexical = tf.gather(all_scores, positions)
        dense = dense_scores(self._index, vectors, positions, self._longest)
        scores, best = tf.math.top_k(tf.where(counts, fuse(dense, lexical, dense_weight), float("-inf")), k)
        found = tf.gather(counts, best)
        return tf.where(found, tf.gather(positions, best), -1), scores

    def _lexical_scores(self, query: Query) -> tf.Tensor:
        """What each item scores for the terms of one request, 0 for those that its conditions leave out."""
        conditions = query.conditions
        if not conditions:
            return self._lexical.scores(query.lexical, self._depth)

        def of_those_left() -> tf.Tensor:
            # As many more of each term as the conditions leave out.
            share = self._filters.share(conditions)
            depth = tf.cast(tf.math.ceil(self._depth / tf.maximum(share, 1e-4)), tf.int32)
            items, scores = self._lexical.posted(query.lexical, depth)

            def by_items() -> tf.Tensor:
                left = self._filters.left(conditions)
                return self._lexical.scores_of(left, tf.gather(self._lexical.scores_of(items, scores), left))

            def by_postings() -> tf.Tensor:
                met = self._filters.met(items, conditions)
                return self._lexical.scores_of(tf.boolean_mask(items, met), tf.boolean_mask(scores, met))

            return tf.cond(self._filters.leaves_few(share), by_items, by_postings)

        return tf.cond(conditions.given, of_those_left, lambda: self._lexical.scores(query.lexical, self._depth))

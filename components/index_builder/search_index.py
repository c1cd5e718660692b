"""The indexes that a servable can hold. All search by inner product and return positions in what they were built of."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import cond_v2

Parameters = Mapping[str, int | float]


class SearchIndex(tf.Module):
    """A set of vectors that can be searched in the graph and saved in a SavedModel."""

    @abstractmethod
    def search(self, vectors: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The k nearest by inner product, best first.

        Args:
          vectors: [queries, dim] float32.
          k: how many, at most as many as there are vectors.

        Returns:
          Positions [queries, k] int32 and inner products [queries, k] float32. A position may be -1 where an
          approximate index found fewer than k.
        """

    @abstractmethod
    def vectors_at(self, positions: tf.Tensor) -> tf.Tensor:
        """The indexed vectors themselves, unquantized: [some] int32 to [some, dim] float32."""


def once(function: Callable[..., Any], signature: Sequence[Any] | None = None) -> Callable[..., Any]:
    """A function that is traced once for all that call it.

    Args:
      function: of tensors.
      signature: their specs; None where all callers bring the same.
    """
    return tf.function(function, autograph=False, input_signature=signature)


def choose(number: tf.Tensor, branches: Sequence[Callable[[], Any]]) -> Any:
    """What the branch of this number gives.

    As `tf.switch_case`, but one op: that one becomes an op for each tensor that any branch reads, and passes over the
    ops of all branches that are not taken.
    """
    return _choose(number, [partial(_apart, branch) for branch in branches])


def when(condition: tf.Tensor, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """As `tf.cond`, by one op (`choose`); `otherwise` should be a few constants."""
    return _choose(tf.cast(condition, tf.int32), [otherwise, partial(_apart, then)])


def _choose(number: tf.Tensor, branches: Sequence[Callable[[], Any]]) -> Any:
    if tf.executing_eagerly():
        return branches[int(number)]()
    return cond_v2.indexed_case(number, branches, lower_using_switch_merge=False)


def _apart(branch: Callable[[], Any]) -> Any:
    """What a branch gives, by a call: TensorFlow optimizes functions that are called, and not those that are chosen."""
    if tf.executing_eagerly():
        return branch()
    return tf.function(branch, autograph=False, experimental_attributes={"_noinline": True})()


def gather_uncopied(variable: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Rows of a variable that is also read whole: [...] int32 to [..., dim].

    Once `tf.gather` reads from a variable itself, TensorFlow copies all of it at each whole read from then on.
    """
    return tf.gather(tf.convert_to_tensor(variable), rows)


class ExactIndex(SearchIndex):
    """Brute force: every vector is scored. No error, no build time, time linear in the catalog."""

    def __init__(self, vectors: np.ndarray):
        super().__init__()
        self._vectors = tf.Variable(np.asarray(vectors, np.float32), trainable=False, name="vectors")

    def search(self, vectors: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `SearchIndex.search`."""
        scores, positions = tf.math.top_k(tf.matmul(vectors, self._vectors, transpose_b=True), k=k)
        return positions, scores

    def vectors_at(self, positions: tf.Tensor) -> tf.Tensor:
        """See `SearchIndex.vectors_at`."""
        return gather_uncopied(self._vectors, positions)


class ScannIndex(SearchIndex):
    """ScaNN (Guo et al., ICML 2020): quantized scan, in nearest partitions only where there is a tree.

    Its TensorFlow ops cannot update in place, so an index is immutable, and they must be loaded (`import scann`) before
    a SavedModel that holds one is. Results are always re-scored in full precision.

    Args:
      vectors: [items, dim] float32.
      parameters: `reorder`, how many candidates are re-scored in full; for a tree also `leaves` and
        `leaves_to_search`.
      k: for which the parameters are; a search for n times more takes n times more candidates, out of sqrt(n) times
        more partitions: the further items are more spread, but not over n times as many.
    """

    def __init__(self, vectors: np.ndarray, parameters: Parameters, k: int):
        super().__init__()
        from scann import scann_ops

        self._parameters = dict(parameters)
        self._k, self._items = k, len(vectors)
        builder = scann_ops.builder(np.asarray(vectors, np.float32), k, "dot_product")
        if "leaves" in parameters:
            builder = builder.tree(
                num_leaves=int(parameters["leaves"]),
                num_leaves_to_search=int(parameters["leaves_to_search"]),
                training_sample_size=min(len(vectors), 250_000),
            )
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
        builder = builder.reorder(int(parameters["reorder"]))
        searcher = builder.build()
        self._state = searcher.serialize_to_module()
        # TensorFlow keeps it by its name for as long as the process lives, and the state has all that is searched.
        tf.raw_ops.DestroyResourceOp(resource=searcher.searcher_handle)

    def with_parameters(self, parameters: Parameters) -> "ScannIndex":
        """The same index searched with another `reorder` or `leaves_to_search`; shares the data."""
        other = object.__new__(ScannIndex)
        tf.Module.__init__(other)
        other._parameters = {**self._parameters, **parameters}
        other._state = self._state
        other._k, other._items = self._k, self._items
        return other

    def _more(self, name: str, most: int, k: int | tf.Tensor) -> int | tf.Tensor:
        if isinstance(k, int) and k <= self._k:
            return min(most, int(self._parameters[name]))
        times = tf.maximum(1.0, tf.cast(k, tf.float32) / self._k)
        if name == "leaves_to_search":
            times = tf.sqrt(times)
        return tf.minimum(most, tf.cast(tf.math.ceil(self._parameters[name] * times), tf.int32))

    def search(self, vectors: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `SearchIndex.search`."""
        from scann import scann_ops

        searcher = scann_ops.searcher_from_module(self._state)
        leaves = self._parameters.get("leaves")
        positions, scores = searcher.search_batched(
            vectors,
            final_num_neighbors=k,
            pre_reorder_num_neighbors=self._more("reorder", self._items, k),
            leaves_to_search=None if leaves is None else self._more("leaves_to_search", int(leaves), k),
        )
        # ScaNN's op says nothing of the shape of what it finds, and finds fewer than k where the partitions hold fewer.
        found = tf.ensure_shape(scores, [None, None])
        missing = [[0, 0], [0, k - tf.shape(found)[1]]]
        scores = tf.pad(found, missing, constant_values=-np.inf)
        positions = tf.pad(
            tf.where(tf.math.is_finite(found), tf.cast(positions, tf.int32), -1), missing, constant_values=-1
        )
        if isinstance(k, int):
            positions, scores = tf.ensure_shape(positions, [None, k]), tf.ensure_shape(scores, [None, k])
        return positions, tf.where(tf.math.is_finite(scores), scores, -np.inf)

    def vectors_at(self, positions: tf.Tensor) -> tf.Tensor:
        """See `SearchIndex.vectors_at`."""
        return gather_uncopied(self._state.dataset, positions)

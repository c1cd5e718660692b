"""From transformed search examples to batches of padded id matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import tensorflow as tf

from schema import features, transformed
from schema.features import Stage
from trainer.config import SEGMENT_MODELS, TrainerConfig
from trainer.item_table import padded, padded_together

Batch = dict[str, tf.Tensor]

# Names that only a batch has: rows of items that were shown and not clicked; stages of the positives that were on the
# page, 0 for the others.
SHOWN_ITEMS: Final = "shown_items"
PAGE_STAGES: Final = "page_stages"

_HASH_BUCKETS = 10_000
# The share of a small log's requests that validation gets at most.
_MOST_VALIDATION = 0.2
_CHUNK = 2048
_CHUNKS_SHUFFLED = 256
_WINDOW = 16 * _CHUNK


@dataclass(frozen=True)
class SearchReader:
    """Reads search examples as a model wants them.

    Attributes:
      config: how much of each list is kept.
      profile_features: names of the profile features, in the order in which the model reads them.
    """

    config: TrainerConfig
    profile_features: tuple[str, ...]

    def query_widths(self) -> dict[str, int]:
        """Width kept of each list that the query tower reads."""
        history = self.config.history
        widths = {
            transformed.QUERY_UNIGRAMS: self.config.query_units,
            transformed.QUERY_BIGRAMS: self.config.query_units + 1,
            transformed.QUERY_SUBWORDS: self.config.query_subwords,
        }
        if self.config.model in SEGMENT_MODELS:
            widths[transformed.QUERY_SEGMENTS] = self.config.query_units
        if self.config.profile:
            widths.update(dict.fromkeys(self.profile_features, 1))
        if history.enabled:
            widths[transformed.HISTORY_QUERY_UNIGRAMS] = history.query_units
            widths[transformed.HISTORY_QUERY_INDEX] = history.query_units
            widths[features.REAL_TIME_ITEMS] = history.real_time_items
            widths[features.SHORT_TERM_ITEMS] = history.short_term_items
            for name in (features.LONG_TERM_CLICKS, features.LONG_TERM_ORDERS, features.LONG_TERM_CARTS):
                widths[name] = history.long_term_items
        return widths

    def query_batch(self, values: Mapping[str, tf.RaggedTensor | tf.SparseTensor]) -> Batch:
        """The query tower's input: by feature, [batch, width] int32, shifted by one and padded with 0."""
        return {name: padded(values[name], width) for name, width in self.query_widths().items()}

    def request_batch(self, values: Mapping[str, tf.SparseTensor], behavior: tf.SparseTensor) -> Batch:
        """As `query_batch`, for a request.

        Args:
          values: by feature, all lists but behavior.
          behavior: the lists of `BEHAVIOR_ITEM_FEATURES` one below the other (`item_table.stacked`).
        """
        widths = self.query_widths()
        behaved = [name for name in features.BEHAVIOR_ITEM_FEATURES if name in widths]
        names = [*(name for name in widths if name not in behaved), *behaved]
        lists = [values[name] for name in names if name not in behaved] + ([behavior] if behaved else [])
        lists = padded_together(lists, [widths[name] for name in names], below=len(behaved))
        return dict(zip(names, lists, strict=True))

    def parse(self, serialized: tf.Tensor) -> Batch:
        """Requests that led to a click, a cart or an order; the others teach retrieval nothing.

        Args:
          serialized: [examples] transformed search examples.

        Returns:
          The query tower's input; `items` and `stages` of what was clicked or better, [batch, max_positives]; where the
          loss reads them, `page_stages`, `shown_items` and `hard_negatives`. Item rows are shifted by one and padded
          with 0.
        """
        hard = (features.HARD_NEGATIVES,) if self.config.negatives.hard else ()
        ranked = (features.POSITIONS,) if self.config.loss.ranking_weight else ()
        names = [*self.query_widths(), features.ITEMS, features.STAGES, *hard, *ranked]
        parsed = tf.io.parse_example(serialized, {name: tf.io.RaggedFeature(tf.int64) for name in names})
        batch = self.query_batch(parsed)
        for name, matrix in positives(parsed, self.config.max_positives).items():
            batch[name] = matrix
        if ranked:
            batch[PAGE_STAGES] = page_stages(parsed, self.config.max_positives)
            batch[SHOWN_ITEMS] = shown_items(parsed, self.config.loss.ranking_items)
        for name in hard:
            batch[name] = padded(parsed[name], self.config.negatives.hard)
        useful = batch[features.ITEMS][:, 0] > 0
        return {name: tf.boolean_mask(matrix, useful) for name, matrix in batch.items()}


def positives(parsed: Mapping[str, tf.RaggedTensor], width: int) -> Batch:
    """Rows (shifted by one) and stages of the items that were clicked or better, padded with 0, [batch, width]."""
    reached = parsed[features.STAGES] >= int(Stage.CLICKED)
    stages = tf.ragged.boolean_mask(parsed[features.STAGES], reached)
    return {
        features.ITEMS: padded(tf.ragged.boolean_mask(parsed[features.ITEMS], reached), width),
        features.STAGES: tf.cast(stages.to_tensor(shape=[None, width]), tf.int32),
    }


def page_stages(parsed: Mapping[str, tf.RaggedTensor], width: int) -> tf.Tensor:
    """Stages of the positives as `positives` has them, 0 for those that were not on the page, [batch, width] int32.

    A click without a position came from elsewhere, unless the log has none for any item of the request.
    """
    positions, stages = parsed[features.POSITIONS], parsed[features.STAGES]
    unknown = tf.equal(tf.reduce_max(positions, axis=1), 0)[:, tf.newaxis]
    on_page = tf.ragged.map_flat_values(tf.greater, positions, 0) | unknown
    kept = stages * tf.cast(on_page, stages.dtype)
    kept = tf.ragged.boolean_mask(kept, stages >= int(Stage.CLICKED))
    return tf.cast(kept.to_tensor(shape=[None, width]), tf.int32)


def shown_items(parsed: Mapping[str, tf.RaggedTensor], width: int) -> tf.Tensor:
    """Rows (shifted by one) of the items that were only shown, as they are in the example, [batch, width]."""
    only_shown = tf.equal(parsed[features.STAGES], int(Stage.SHOWN))
    return padded(tf.ragged.boolean_mask(parsed[features.ITEMS], only_shown), width)


def read_requests(reader: SearchReader, files: Sequence[str], validation: bool) -> tf.data.Dataset:
    """Chunks of parsed requests of the train split, kept in memory once read.

    A request belongs to validation by a hash of its id, or of its example where it has none, so that the parts stay
    apart in every epoch and run, and later steps find the same requests. The matrices are a few hundred int32 wide:
    some hundred MB per million requests.
    """
    spec = {features.REQUEST_ID: tf.io.FixedLenFeature([], tf.string, default_value="")}

    def select(serialized: tf.Tensor) -> tf.Tensor:
        ids = tf.io.parse_example(serialized, spec)[features.REQUEST_ID]
        kept_out = in_validation(tf.where(ids == "", serialized, ids), reader.config.validation_share)
        return tf.boolean_mask(serialized, kept_out if validation else ~kept_out)

    chunks = tf.data.TFRecordDataset(sorted(files), compression_type="GZIP").batch(_CHUNK)
    # None of the functions branches on tensors in Python, so that AutoGraph's translation would only cost time.
    select, parse = map(tf.autograph.experimental.do_not_convert, (select, reader.parse))
    return chunks.map(select).map(parse, num_parallel_calls=tf.data.AUTOTUNE).cache()


def in_validation(request_ids: tf.Tensor, share: float) -> tf.Tensor:
    """Which requests belong to the share that is kept out of training for validation: [...] string to [...] bool."""
    return tf.strings.to_hash_bucket_fast(request_ids, _HASH_BUCKETS) < int(share * _HASH_BUCKETS)


@dataclass(frozen=True)
class SplitRequests:
    """The requests of the train split.

    Attributes:
      training, validation: chunks of each part.
      count: how many requests there are to train on.
      validation_share: which share of all requests validation got.
    """

    training: tf.data.Dataset
    validation: tf.data.Dataset
    count: int
    validation_share: float


def split_requests(reader: SearchReader, files: Sequence[str]) -> SplitRequests:
    """Parts requests in those to train on and those for validation."""
    requests, validation = (read_requests(reader, files, validation=part) for part in (False, True))
    count, kept_out = (sum(len(batch[features.ITEMS]) for batch in part) for part in (requests, validation))
    share = min(_MOST_VALIDATION, reader.config.min_validation_requests / max(1, count + kept_out))
    if share <= reader.config.validation_share:
        return SplitRequests(requests, validation, count, reader.config.validation_share)
    return split_requests(replace(reader, config=reader.config.model_copy(update={"validation_share": share})), files)


def training_batches(
    requests: tf.data.Dataset, config: TrainerConfig, passes: range, first_batch: int = 0
) -> tf.data.Dataset:
    """The batches of `passes` over the requests, by number from 0, without those before `first_batch`."""
    numbers = tf.data.Dataset.range(passes.start, passes.stop)
    shuffle = tf.autograph.experimental.do_not_convert(lambda number: shuffled_batches(requests, config, number))
    batches = numbers.flat_map(shuffle)
    return batches.skip(first_batch).prefetch(tf.data.AUTOTUNE)


def shuffled_batches(requests: tf.data.Dataset, config: TrainerConfig, number: int | tf.Tensor = 0) -> tf.data.Dataset:
    """A pass of batches over the requests, in an order that the seed and the number of the pass determine.

    Chunks are shuffled and then the requests within windows of chunks: whole matrices are permuted at once, which
    is many times faster than a shuffle of single requests.
    """
    # Different for every pair of the two, for a million passes.
    seed = config.seed * 2**20 + tf.cast(number, tf.int64)

    def permute(window: tf.Tensor, batch: Batch) -> Batch:
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(batch[features.ITEMS])[0]), [seed, window])
        return {name: tf.gather(matrix, order) for name, matrix in batch.items()}

    chunks = requests.shuffle(_CHUNKS_SHUFFLED, seed=seed, reshuffle_each_iteration=False).rebatch(_WINDOW)
    windows = chunks.enumerate().map(tf.autograph.experimental.do_not_convert(permute))
    return windows.rebatch(config.batch_size).prefetch(tf.data.AUTOTUNE)


def positive_counts(requests: tf.data.Dataset, items: int) -> np.ndarray:
    """How often each item row is a positive of the requests, [items + 1] int64; reads the requests once."""
    counts = np.zeros(items + 2, np.int64)
    for batch in requests:
        counts += np.bincount(batch[features.ITEMS].numpy().ravel(), minlength=items + 2)
    return counts[1:]

"""The `preprocessing_fn` of the pipeline: raw search and catalog features to ids.

One function serves both environments: a search example has no catalog features and a catalog example no
search features, and what is absent comes out absent. The vocabularies are learned over both at once, so
queries and titles share their token ids (DPSR, arXiv 2006.02282: both towers share the embedding matrix).
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.transform import lexicon, segmentation, tokens
from components.transform.config import TransformConfig
from components.transform.ragged import rows_of, splits_of
from schema import features, transformed

CUSTOM_CONFIG_KEY = "transform_config"

Tensors = dict[str, tf.SparseTensor]


def preprocessing_fn(inputs: Mapping[str, tf.SparseTensor], custom_config: Mapping[str, Any]) -> Tensors:
    """Transformed features of a batch; see `schema.transformed` for what each holds.

    Args:
      inputs: raw features by name, [batch, (values)] each.
      custom_config: holds the JSON of a `TransformConfig` under `transform_config`.
    """
    config = TransformConfig.from_json(custom_config[CUSTOM_CONFIG_KEY])
    outputs = {
        **_text_features(inputs, config),
        **_item_rows(inputs),
        **_category_features(inputs),
        **_column_features(inputs),
        transformed.PRICE_BUCKET: tf.sparse.map_values(_price_buckets, inputs[features.PRICE]),
        **{name: _same(inputs[name]) for name in (features.REQUEST_ID, features.STAGES, features.POSITIONS)},
    }
    return {name: value.to_sparse() if isinstance(value, tf.RaggedTensor) else value for name, value in outputs.items()}


def _same(sparse: tf.SparseTensor) -> tf.SparseTensor:
    """The same values as an output, which must not be an input itself."""
    return tf.sparse.map_values(tf.identity, sparse)


def _first(sparse: tf.SparseTensor) -> tf.SparseTensor:
    """The first value of each row."""
    return tf.sparse.slice(sparse, [0, 0], [tf.int64.max, 1])


def _only_text(sparse: tf.SparseTensor) -> tf.Tensor:
    """[batch] string out of a feature with at most one value; "" where there is none."""
    return tf.strings.unsorted_segment_join(sparse.values, sparse.indices[:, 0], sparse.dense_shape[0], " ")


def _text_features(inputs: Mapping[str, tf.SparseTensor], config: TransformConfig) -> dict[str, tf.RaggedTensor]:
    def tokenize(text: tf.Tensor, max_units: int) -> tf.RaggedTensor:
        return tokens.tokenize(text, max_units, config.fold_plurals)

    query, history_units, history_index = _queries(inputs, config)
    title = tokenize(_only_text(inputs[features.TITLE]), config.max_title_units)
    named = [features.BRAND, features.CATEGORY_PATH, *_columns(inputs, features.CATEGORICAL_PREFIX)]
    attributes = tokenize(
        tf.strings.join([_only_text(inputs[name]) for name in named], separator=" "), config.max_title_units
    )
    texts = {
        name: tokenize(_only_text(inputs[name]), config.max_text_units)
        for name in _columns(inputs, features.TEXT_PREFIX)
    }
    query_bigrams, title_bigrams = tokens.bigrams(query), tokens.bigrams(title)

    unigram_file = lexicon.learn(
        tf.concat([query, title, attributes, *texts.values()], axis=1),
        transformed.UNIGRAMS,
        config.unigram_vocabulary,
        config.min_term_count,
        store_counts=True,
    )
    bigram_file = lexicon.learn(
        tf.concat([query_bigrams, title_bigrams], axis=1),
        transformed.BIGRAMS,
        config.bigram_vocabulary,
        config.min_bigram_count,
    )
    phrase_file = lexicon.learn(
        tf.concat([tokens.phrases(text, segmentation.MAX_SEGMENT_UNITS) for text in (query, title)], axis=1),
        transformed.PHRASES,
        config.phrase_vocabulary,
        config.min_phrase_count,
        store_counts=True,
    )
    total_units = tft.sum(query.row_lengths() + title.row_lengths())

    # Search and catalog are looked up apart: an output is served only where all that it depends on is fed.
    (query_ids, history_ids), unigram_space = lexicon.look_up_counted_ids(
        [query, history_units], unigram_file, transformed.UNIGRAMS
    )
    (title_ids, attribute_ids, *text_ids), catalog_space = lexicon.look_up_counted_ids(
        [title, attributes, *texts.values()], unigram_file, transformed.UNIGRAMS
    )
    (query_bigram_ids,) = lexicon.look_up_ids([query_bigrams], bigram_file, transformed.BIGRAMS)
    (title_bigram_ids,) = lexicon.look_up_ids([title_bigrams], bigram_file, transformed.BIGRAMS)

    def subwords(units: tf.RaggedTensor, most: int) -> tf.RaggedTensor:
        grams = tokens.subwords(units, max_subwords=most)
        return grams.with_values(tf.strings.to_hash_bucket_fast(grams.values, transformed.SUBWORD_BUCKETS))

    def segment_ids(units: tf.RaggedTensor, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        runs, lengths = segmentation.candidate_segments(units)
        (unit_counts,) = lexicon.look_up_counts(runs[:1], unigram_file)
        phrase_counts = lexicon.look_up_counts(runs[1:], phrase_file)
        phrase_ids, _ = lexicon.look_up_counted_ids(runs[1:], phrase_file, transformed.PHRASES)
        scores = [
            segmentation.segment_scores(counts, total_units, length, config.phrase_penalty)
            for length, counts in enumerate([unit_counts, *phrase_counts], start=1)
        ]
        run_ids = [segmentation.dense(ids, default_value=-1), *(unigram_space + p for p in phrase_ids)]
        return segmentation.pick_segments(run_ids, segmentation.best_cut(scores, lengths))

    return {
        transformed.QUERY_UNIGRAMS: query_ids,
        transformed.QUERY_BIGRAMS: query_bigram_ids,
        transformed.QUERY_SEGMENTS: segment_ids(query, query_ids),
        transformed.QUERY_SUBWORDS: subwords(query, config.max_query_subwords),
        transformed.HISTORY_QUERY_UNIGRAMS: history_ids,
        transformed.HISTORY_QUERY_INDEX: history_units.with_values(history_index),
        transformed.TITLE_UNIGRAMS: title_ids,
        transformed.TITLE_BIGRAMS: title_bigram_ids,
        transformed.TITLE_SEGMENTS: segment_ids(title, title_ids),
        transformed.TITLE_SUBWORDS: subwords(title, config.max_title_subwords),
        transformed.ATTRIBUTE_UNIGRAMS: attribute_ids,
        **{
            name: _distinct_known(ids, catalog_space - transformed.UNIGRAMS.oov_buckets)
            for name, ids in zip(texts, text_ids, strict=True)
        },
    }


def _queries(
    inputs: Mapping[str, tf.SparseTensor], config: TransformConfig
) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.Tensor]:
    """Units of queries, units of all past queries of each, and of which past query each of these is, 0 the first."""
    past = inputs[features.HISTORY_QUERIES]
    query = _only_text(inputs[features.QUERY])
    count = tf.size(query, tf.int64)
    # As one batch: to tokenize a few texts is hardly more work than to tokenize one.
    units = tokens.tokenize(tf.concat([query, past.values], axis=0), config.max_query_units, config.fold_plurals)
    ends = units.row_splits[count:]
    ours = ends[0]
    of_past = tf.RaggedTensor.from_row_splits(units.values[ours:], ends - ours, validate=False)
    requests = splits_of(past.indices[:, 0], count)
    return (
        tf.RaggedTensor.from_row_splits(units.values[:ours], units.row_splits[: count + 1], validate=False),
        tf.RaggedTensor.from_row_splits(of_past.values, tf.gather(of_past.row_splits, requests), validate=False),
        tf.gather(past.indices[:, 1], rows_of(of_past)),
    )


def _columns(inputs: Mapping[str, tf.SparseTensor], prefix: str) -> list[str]:
    return sorted(name for name in inputs if name.startswith(prefix))


def _distinct_known(ids: tf.RaggedTensor, known: tf.Tensor) -> tf.RaggedTensor:
    """Each id of a text once, rarest first, without those that the vocabulary does not know.

    A word of a long text says that the item has to do with it, and its tenth occurrence says little more. What was
    seen once in all the data would only share its bucket with other such words.
    """
    descending = tf.sort(ids.to_tensor(default_value=-1), axis=1, direction="DESCENDING")
    # Not `==`, which compares objects where the graph is traced as TensorFlow 1 does.
    repeated = tf.pad(
        tf.equal(descending[:, 1:], descending[:, :-1]), [[0, 0], [tf.minimum(1, tf.shape(descending)[1]), 0]]
    )
    return tf.ragged.boolean_mask(descending, ~repeated & (descending >= 0) & (descending < known))


def _item_rows(inputs: Mapping[str, tf.SparseTensor]) -> Tensors:
    vocabulary_file = lexicon.learn(inputs[features.ITEM_ID], transformed.ITEM_IDS)
    # A shop's own schema from before hard negatives lacks them.
    outcomes = [name for name in (features.ITEMS, features.HARD_NEGATIVES) if name in inputs]
    # Behavior, outcome and catalog apart: a served request has the first alone.
    outputs: Tensors = {}
    for sources in (
        {name: name for name in features.BEHAVIOR_ITEM_FEATURES},
        {name: name for name in outcomes},
        {transformed.ITEM_ROW: features.ITEM_ID},
    ):
        ids = [inputs[source] for source in sources.values()]
        outputs.update(zip(sources, lexicon.look_up_ids(ids, vocabulary_file, transformed.ITEM_IDS), strict=True))
    return outputs


def _category_features(inputs: Mapping[str, tf.SparseTensor]) -> Tensors:
    outputs = {}
    for feature, vocabulary in (
        (features.BRAND, transformed.BRANDS),
        (features.LEAF_CATEGORY, transformed.LEAF_CATEGORIES),
        (features.TOP_CATEGORY, transformed.TOP_CATEGORIES),
        (features.SHOP, transformed.SHOPS),
    ):
        values = inputs[feature]
        (outputs[feature],) = lexicon.look_up_ids([values], lexicon.learn(values, vocabulary), vocabulary)
    return outputs


def _column_features(inputs: Mapping[str, tf.SparseTensor]) -> Tensors:
    """Users' profiles, and the categorical and numeric columns of the catalog."""
    outputs = {}
    for name in (*_columns(inputs, features.PROFILE_PREFIX), *_columns(inputs, features.CATEGORICAL_PREFIX)):
        vocabulary = transformed.column_vocabulary(name)
        vocabulary_file = lexicon.learn(inputs[name], vocabulary)
        (outputs[name],) = lexicon.look_up_ids([_first(inputs[name])], vocabulary_file, vocabulary)
    for name in _columns(inputs, features.NUMERIC_PREFIX):
        outputs[name] = _same(tft.bucketize(inputs[name], transformed.NUMERIC_BUCKETS))
    return outputs


def _price_buckets(price: tf.Tensor) -> tf.Tensor:
    """Quarter-octave buckets: fixed edges need no analysis and mean the same in every run."""
    octaves = tf.math.log(tf.maximum(price, 0.0) + 1.0) / tf.math.log(2.0)
    return tf.cast(tf.clip_by_value(octaves * 4.0, 0.0, transformed.PRICE_BUCKETS - 1.0), tf.int64)

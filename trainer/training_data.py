"""What a model is trained on: requests, catalog, vocabularies, and the settings that go by how much there is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schema import features, transformed
from schema.settings import InputError
from schema.transformed import Vocabulary
from trainer.catalog_queries import subwords_of_words
from trainer.clicked_queries import with_clicked_words
from trainer.config import TrainerConfig
from trainer.fitted_config import fitted
from trainer.input import SearchReader, positive_counts, split_requests
from trainer.item_table import ItemReader, ItemTable, read_item_table
from trainer.models import InputSizes


@dataclass(frozen=True)
class TrainingData:
    """All that a model is trained on.

    Attributes:
      config: `fitted` to the number of requests.
      sizes: of the id spaces.
      reader: of the requests.
      table: the catalog, with the words of the queries that led to each item.
      requests, validation: chunks of requests, kept in memory once read.
      request_count: how many requests there are to train on.
      validation_share: which share of all requests validation got.
      positive_counts: [items + 1], how often each item is a positive.
      word_subwords: character n-grams of words (`catalog_queries.subwords_of_words`).
    """

    config: TrainerConfig
    sizes: InputSizes
    reader: SearchReader
    table: ItemTable
    requests: tf.data.Dataset
    validation: tf.data.Dataset
    request_count: int
    validation_share: float
    positive_counts: np.ndarray
    word_subwords: np.ndarray


def read_training_data(
    config: TrainerConfig, transform: tft.TFTransformOutput, train_files: Sequence[str], catalog_files: Sequence[str]
) -> TrainingData:
    """Reads the transformed examples.

    Args:
      config: the model and how to train it.
      transform: graph and vocabularies that made the examples.
      train_files: transformed examples of the train split.
      catalog_files: transformed examples of the catalog split.

    Raises:
      InputError: where no training request led to a click or an order.
    """
    sizes = input_sizes(transform)
    reader = SearchReader(config, tuple(sizes.profile))
    item_ids = transform.vocabulary_by_name(transformed.ITEM_IDS.name)
    table = read_item_table(ItemReader(config, tuple(sizes.columns)), catalog_files, item_ids)
    split = split_requests(reader, train_files)
    if split.count == 0:
        raise InputError(
            "no request of the train split led to a click, a cart or an order, so there is nothing to learn from. "
            "Check the event types of the log, and that `ingest.eval_start` leaves days before it"
        )
    known_unigrams = sizes.unigrams - transformed.UNIGRAMS.oov_buckets
    return TrainingData(
        config=fitted(config, split.count),
        sizes=sizes,
        reader=reader,
        table=with_clicked_words(table, split.training, known_unigrams, config.clicked_units),
        requests=split.training,
        validation=split.validation,
        request_count=split.count,
        validation_share=split.validation_share,
        positive_counts=positive_counts(split.training, table.size),
        word_subwords=subwords_of_words(transform),
    )


def input_sizes(transform: tft.TFTransformOutput) -> InputSizes:
    """Sizes of the id spaces of a transform graph."""

    def size(vocabulary: Vocabulary) -> int:
        return transform.vocabulary_size_by_name(vocabulary.name) + vocabulary.oov_buckets

    def names(prefix: str) -> list[str]:
        return sorted(name for name in transform.transformed_feature_spec() if name.startswith(prefix))

    return InputSizes(
        unigrams=size(transformed.UNIGRAMS),
        bigrams=size(transformed.BIGRAMS),
        phrases=size(transformed.PHRASES),
        items=size(transformed.ITEM_IDS),
        brand=size(transformed.BRANDS),
        leaf_category=size(transformed.LEAF_CATEGORIES),
        top_category=size(transformed.TOP_CATEGORIES),
        shop=size(transformed.SHOPS),
        profile={name: size(transformed.column_vocabulary(name)) for name in names(features.PROFILE_PREFIX)},
        columns={
            **dict.fromkeys(names(features.TEXT_PREFIX), size(transformed.UNIGRAMS)),
            **{name: size(transformed.column_vocabulary(name)) for name in names(features.CATEGORICAL_PREFIX)},
            **dict.fromkeys(names(features.NUMERIC_PREFIX), transformed.NUMERIC_BUCKETS),
        },
    )

"""A two-tower model with an item's fields, the way TensorFlow Recommenders' tutorials build one.

https://www.tensorflow.org/recommenders/examples/featurization ("Using side features") and .../deep_recommenders
("Building deep retrieval models"): an example holds one query and all fields of the item that was clicked, as strings;
`StringLookup` and `TextVectorization` are layers of the model; a text is the mean of its words' embeddings; towers end
in dense layers; the loss is `tfrs.tasks.Retrieval` over the batch, without metrics while training; examples are
shuffled, batched and then cached, so that an epoch after the first parses nothing.

So that it does the work of Souk's `two_tower` and no more: words and pairs of words (`ngrams=2`) of query, title, brand
and category share one embedding matrix as large as Souk's; vectors have unit length and scores a temperature. It is
spared what the tutorials leave out and Souk does: the correction for popularity, the mask of accidental hits, clipping.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

from benchmarks.training.data import BATCHES, Artifacts
from schema import features, transformed
from schema.features import Stage
from trainer.config import TrainerConfig

TITLE, ATTRIBUTES = features.TITLE, "attributes"
FIELDS = (features.BRAND, features.LEAF_CATEGORY, features.TOP_CATEGORY, features.SHOP, transformed.PRICE_BUCKET)
_TEXTS = (features.QUERY, TITLE, ATTRIBUTES)
_SHUFFLED = 100_000
_AT_ONCE = 4096

Item = Mapping[str, bytes]


class TutorialFeatures(tfrs.Model):
    """Query text against item text and fields, all looked up within the model.

    Args:
      texts: queries, titles and attributes, to learn the words from.
      fields: vocabulary of each of the item's fields.
      tokens: how many words and pairs of words are kept.
      config: widths and temperature.
    """

    def __init__(
        self, texts: tf.data.Dataset, fields: Mapping[str, Sequence[bytes]], tokens: int, config: TrainerConfig
    ):
        super().__init__()
        self.vectorize = keras.layers.TextVectorization(max_tokens=tokens, ngrams=2)
        self.vectorize.adapt(texts)
        self.words = keras.layers.Embedding(tokens, config.embedding_dim, mask_zero=True)
        self.mean = keras.layers.GlobalAveragePooling1D()
        self.fields = {
            name: keras.Sequential(
                [
                    keras.layers.StringLookup(vocabulary=list(vocabulary), mask_token=None),
                    keras.layers.Embedding(len(vocabulary) + 1, config.embedding_dim),
                ]
            )
            for name, vocabulary in fields.items()
        }
        self.query_layers, self.item_layers = _dense_layers(config), _dense_layers(config)
        self.task = tfrs.tasks.Retrieval(temperature=config.loss.temperature)

    def text(self, strings: tf.Tensor) -> tf.Tensor:
        """Mean embedding of the words of each string, [batch, embedding_dim]."""
        return self.mean(self.words(self.vectorize(strings)))

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Softmax over the items of the batch, summed over it."""
        query = self.query_layers(self.text(inputs[features.QUERY]))
        fields = [embed(inputs[name]) for name, embed in self.fields.items()]
        item = self.item_layers(tf.concat([self.text(inputs[TITLE]), self.text(inputs[ATTRIBUTES]), *fields], axis=1))
        unit_query, unit_item = (tf.math.l2_normalize(vectors, axis=1) for vectors in (query, item))
        return self.task(unit_query, unit_item, compute_metrics=not training)


def _dense_layers(config: TrainerConfig) -> keras.Sequential:
    hidden = [keras.layers.Dense(width, activation="relu") for width in config.hidden]
    return keras.Sequential([*hidden, keras.layers.Dense(config.dim)])


@dataclass(frozen=True)
class TutorialData:
    """Examples as the tutorials have them.

    Attributes:
      path: TFRecord file of tf.Examples.
      texts: every query, title and attribute text, once.
      fields: vocabulary of each of the item's fields.
    """

    path: str
    texts: tuple[bytes, ...]
    fields: Mapping[str, tuple[bytes, ...]]

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """The same few batches again and again: shuffled, batched and cached in this order, as the tutorials do."""
        spec = {name: tf.io.FixedLenFeature([], tf.string, "") for name in (*_TEXTS, features.ITEM_ID, *FIELDS)}
        examples = tf.data.TFRecordDataset(self.path).map(lambda example: tf.io.parse_single_example(example, spec))
        return examples.shuffle(_SHUFFLED, seed=1).batch(batch_size, drop_remainder=True).take(BATCHES).cache()

    def model(self, tokens: int, config: TrainerConfig, optimizer: keras.optimizers.Optimizer) -> TutorialFeatures:
        """A fresh model."""
        keras.utils.set_random_seed(config.seed)
        texts = tf.data.Dataset.from_tensor_slices(list(self.texts)).batch(_AT_ONCE)
        model = TutorialFeatures(texts, self.fields, tokens, config)
        model.compile(optimizer=optimizer)
        return model


def write_examples(artifacts: Artifacts, path: str, count: int) -> TutorialData:
    """Writes `count` examples, each the query of a training request and the first item that it led to.

    Args:
      artifacts: with raw examples.
      path: TFRecord file to write.
      count: of examples, at most.
    """
    items = read_items(artifacts.files(features.CATALOG_SPLIT, raw=True))
    queries: set[bytes] = set()
    with tf.io.TFRecordWriter(path) as writer:
        for number, (query, item_id) in enumerate(first_clicks(artifacts.files(features.TRAIN_SPLIT, raw=True))):
            if number == count:
                break
            queries.add(query)
            values = {features.QUERY: query, features.ITEM_ID: item_id, **items.get(item_id, {})}
            feature = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v])) for name, v in values.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    texts = queries | {item[name] for item in items.values() for name in (TITLE, ATTRIBUTES)}
    fields = {name: tuple(sorted({item[name] for item in items.values()})) for name in FIELDS}
    return TutorialData(path, tuple(sorted(texts)), fields)


def read_items(files: Sequence[str]) -> dict[bytes, Item]:
    """Texts and fields of every item by its id; a field that is absent is empty."""
    strings = (features.ITEM_ID, TITLE, features.BRAND, features.LEAF_CATEGORY, features.TOP_CATEGORY, features.SHOP)
    spec: dict[str, tf.io.FixedLenFeature] = {name: tf.io.FixedLenFeature([], tf.string, "") for name in strings}
    spec[features.PRICE] = tf.io.FixedLenFeature([], tf.float32, float("nan"))
    batches = [
        {name: values.numpy() for name, values in tf.io.parse_example(batch, spec).items()}
        for batch in tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(_AT_ONCE)
    ]
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in spec}
    prices = columns.pop(features.PRICE)
    edges = np.nanquantile(prices, np.linspace(0, 1, transformed.PRICE_BUCKETS + 1)[1:-1])
    columns[transformed.PRICE_BUCKET] = np.array([b"%d" % bucket for bucket in np.searchsorted(edges, prices)], object)
    columns[ATTRIBUTES] = columns[features.BRAND] + b" " + columns[features.LEAF_CATEGORY]
    ids = columns.pop(features.ITEM_ID)
    return {
        item_id: dict(zip(columns, values, strict=True))
        for item_id, *values in zip(ids, *columns.values(), strict=True)
    }


def first_clicks(files: Sequence[str]) -> Iterator[tuple[bytes, bytes]]:
    """Query and first item that was clicked or better, of every request that led to one."""
    spec = {
        features.QUERY: tf.io.FixedLenFeature([], tf.string, ""),
        features.ITEMS: tf.io.RaggedFeature(tf.string),
        features.STAGES: tf.io.RaggedFeature(tf.int64),
    }
    for batch in tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(_AT_ONCE):
        parsed = tf.io.parse_example(batch, spec)
        reached = tf.ragged.boolean_mask(parsed[features.ITEMS], parsed[features.STAGES] >= int(Stage.CLICKED))
        first = reached.to_tensor(shape=[None, 1])[:, 0].numpy()
        yield from ((query, item) for query, item in zip(parsed[features.QUERY].numpy(), first, strict=True) if item)

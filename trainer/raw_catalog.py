"""Raw catalog examples: how they are parsed, and which items are listings of one product."""

from collections.abc import Mapping

import tensorflow as tf

from schema import features


def raw_catalog_spec() -> dict[str, tf.io.VarLenFeature]:
    """Parsing spec of a raw catalog example."""
    return {
        **{name: tf.io.VarLenFeature(tf.string) for name in features.CATALOG_BYTES_FEATURES},
        **{name: tf.io.VarLenFeature(tf.float32) for name in features.CATALOG_FLOAT_FEATURES},
    }


def fingerprint(raw: Mapping[str, tf.SparseTensor]) -> tf.Tensor:
    """Text that is equal for items alike in title, brand, category, shop and price: [batch] string."""
    fields = [
        tf.strings.reduce_join(tf.RaggedTensor.from_sparse(raw[name]), axis=1, separator="\x1e")
        for name in (features.TITLE, features.BRAND, features.CATEGORY_PATH, features.SHOP)
    ]
    price = tf.strings.as_string(tf.RaggedTensor.from_sparse(raw[features.PRICE]))
    return tf.strings.join([*fields, tf.strings.reduce_join(price, axis=1)], separator="\x1f")

"""Raw catalog examples: how they are parsed, and which items are listings of one product."""

from collections.abc import Iterable, Mapping

import tensorflow as tf

from schema import features


def raw_catalog_spec(columns: Iterable[str] = ()) -> dict[str, tf.io.VarLenFeature]:
    """Parsing spec of a raw catalog example.

    Args:
      columns: names of features, of which the further columns of the catalog are read too.
    """
    return {
        **{name: tf.io.VarLenFeature(tf.string) for name in features.CATALOG_BYTES_FEATURES},
        **{name: tf.io.VarLenFeature(tf.float32) for name in features.CATALOG_FLOAT_FEATURES},
        **{
            name: tf.io.VarLenFeature(tf.float32 if name.startswith(features.NUMERIC_PREFIX) else tf.string)
            for name in sorted(columns)
            if name.startswith(features.COLUMN_PREFIXES)
        },
    }


def fingerprint(raw: Mapping[str, tf.SparseTensor]) -> tf.Tensor:
    """Text that is equal for items alike in all but their ids: [batch] string.

    Args:
      raw: parsed by `raw_catalog_spec`.
    """
    further = sorted(name for name in raw if name.startswith(features.COLUMN_PREFIXES))
    fields = []
    for name in (features.TITLE, features.BRAND, features.CATEGORY_PATH, features.SHOP, features.PRICE, *further):
        values = tf.RaggedTensor.from_sparse(raw[name])
        texts = values if values.dtype == tf.string else tf.strings.as_string(values)
        fields.append(tf.strings.reduce_join(texts, axis=1, separator="\x1e"))
    return tf.strings.join(fields, separator="\x1f")

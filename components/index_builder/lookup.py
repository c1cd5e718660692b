"""What a servable looks texts up by: ids of items, values of filters."""

from collections.abc import Iterable

import tensorflow as tf


def place_table(texts: Iterable[bytes], path: str, unknown: int) -> tf.lookup.StaticHashTable:
    """Finds the place of a text among `texts`, int64; the SavedModel takes the file over.

    Args:
      texts: distinct, at least one.
      path: of the file, which must be there until the SavedModel is written.
      unknown: the place of any other text.
    """
    with open(path, "wb") as file:
        file.write(b"\n".join(texts) + b"\n")
    whole_line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    asset = tf.saved_model.Asset(path).asset_path
    return tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(asset, tf.string, whole_line, tf.int64, number), default_value=unknown
    )

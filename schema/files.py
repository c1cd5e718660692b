"""Files that readers of other processes find whole."""

import uuid

import tensorflow as tf


def write_whole(path: str, content: bytes) -> None:
    """Puts a file in place at once: a reader finds the whole of it, or what was there before.

    Args:
      path: local or remote; its folder exists.
      content: all of the file.
    """
    temporary = f"{path}.{uuid.uuid4().hex}.partial"
    with tf.io.gfile.GFile(temporary, "wb") as file:
        file.write(content)
    tf.io.gfile.rename(temporary, path, overwrite=True)

"""The folder of an encoder: where its files are, what they hold, and what identifies them."""

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from schema.settings import InputError

_SETTING = "`train.text_encoder`"
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_GIT_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class EncoderFolder:
    """A folder that is read file by file, local or remote; nothing is ever fetched from a hub.

    Raises:
      InputError: where there is no such folder.
    """

    def __init__(self, path: str):
        self.path = path
        self._digests: dict[str, str] = {}
        if not tf.io.gfile.isdir(path):
            raise InputError(_no_folder(path))

    def names(self, inner: str = "") -> list[str]:
        """The files right in an inner folder, by name; none where it is missing."""
        folder = self.at(inner)
        if not tf.io.gfile.isdir(folder):
            return []
        return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder))

    def at(self, name: str) -> str:
        """The path of a file or an inner folder."""
        return posixpath.join(self.path, name) if name else self.path

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(tf.io.gfile.exists(self.at(name)))

    def is_pointer(self, name: str) -> bool:
        """Whether Git LFS left a pointer in the file's place."""
        return self._bytes(name, len(_GIT_LFS_POINTER)) == _GIT_LFS_POINTER

    def read(self, name: str) -> bytes:
        """What a file holds; it counts for the fingerprint from now on.

        Raises:
          InputError: where the file cannot be read, or Git LFS left a pointer in its place.
        """
        content = self._bytes(name)
        if content.startswith(_GIT_LFS_POINTER):
            raise InputError(
                f"{self.at(name)} is a Git LFS pointer, not the file itself: run `git lfs pull` in {self.path}, "
                "or download the folder as docs/text_encoder.md says"
            )
        self._digests[name] = hashlib.sha256(content).hexdigest()
        return content

    def _bytes(self, name: str, count: int = -1) -> bytes:
        try:
            with tf.io.gfile.GFile(self.at(name), "rb") as file:
                return bytes(file.read(count))
        except tf.errors.OpError as error:
            raise InputError(f"{self.at(name)} cannot be read: {error.message}") from None

    def read_json(self, name: str) -> Any:
        """What a JSON file holds.

        Raises:
          InputError: as `read` does, and where it is no JSON.
        """
        try:
            return json.loads(self.read(name))
        except ValueError as error:
            raise InputError(f"{self.at(name)} is not JSON ({error}): download it anew") from None

    def read_object(self, name: str) -> dict[str, Any]:
        """The object in a JSON file; empty where there is no such file.

        Raises:
          InputError: as `read_json` does, and where it holds something else.
        """
        if not self.has(name):
            return {}
        values = self.read_json(name)
        if not isinstance(values, dict):
            raise InputError(f"{self.at(name)} must hold a JSON object, it holds a {type(values).__name__}")
        return values

    def fingerprint(self) -> str:
        """SHA-256, in hex, of the names and contents of all files that were read."""
        return hashlib.sha256(json.dumps(self._digests, sort_keys=True).encode()).hexdigest()


def not_installed(error: ModuleNotFoundError) -> InputError:
    """What to say where a library of the extra is missing."""
    return InputError(
        f"{_SETTING} needs `{error.name}`, which is not installed: run pip install 'souk-retrieval[encoder]', or in a "
        "checkout of Souk: make setup"
    )


def no_weights(folder: EncoderFolder, looked_for: Iterable[str], there: Iterable[str]) -> InputError:
    """What to say where no file of weights is."""
    found = list(there)
    pickled = any(name.endswith((".bin", ".h5", ".pt")) for name in found)
    hint = (
        "Souk reads no pickled weights: save the model with `save_pretrained(folder, safe_serialization=True)`, or "
        "export it with `optimum-cli export onnx`"
        if pickled
        else "see docs/text_encoder.md for what to download"
    )
    return InputError(
        f"{folder.path} holds no weights: none of {', '.join(looked_for)} is there (it holds: "
        f"{', '.join(found) or 'nothing'}); {hint}"
    )


def _no_folder(path: str) -> str:
    said = f"{_SETTING}: there is no folder {path}"
    if "://" in path:
        return f"{said}, or none that the credentials here may read; give the folder of a sentence encoder"
    if tf.io.gfile.exists(path):
        return f"{_SETTING} must be the folder of a sentence encoder; {path} is a file: give the folder that holds it"
    # A relative path is made absolute where a file of settings is read: then its parent is missing, too.
    name = "/".join(path.rsplit("/", 2)[-2:]) if posixpath.isabs(path) else path
    could_be_a_name = not posixpath.isabs(path) or not tf.io.gfile.isdir(posixpath.dirname(path))
    if not could_be_a_name or name.startswith(".") or not _HUB_NAME.fullmatch(name):
        return f"{said}; give the folder of a sentence encoder, see docs/text_encoder.md"
    name, local = (name if "/" in name else f"sentence-transformers/{name}"), f"models/{name.rpartition('/')[2]}"
    return (
        f"{said}. If {name} is a model on a hub: Souk downloads nothing when it runs. Download it once, with "
        f"`hf download {name} --local-dir {local}`, and set `train.text_encoder: {local}`"
    )

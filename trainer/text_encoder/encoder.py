"""A sentence encoder out of a folder, without PyTorch and without a hub."""

import json
import posixpath
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from schema.settings import InputError
from trainer.text_encoder.folder import EncoderFolder, no_weights, not_installed
from trainer.text_encoder.onnx_model import OnnxModel, read_onnx
from trainer.text_encoder.pooling import mean as mean_pooling
from trainer.text_encoder.pooling import normalized, read_pooling
from trainer.text_encoder.static import read_static
from trainer.text_encoder.transformer import TokenModel, read_transformer
from trainer.text_encoder.weights import read_weights

# Of a batch, padding included: enough to keep the processors busy, and small enough for their caches.
_TOKENS_PER_BATCH: Final = 4096
_LONGEST_TEXT: Final = 512
_MODULES: Final = ("Transformer", "StaticEmbedding", "Pooling", "Normalize")


@dataclass(frozen=True)
class TextEncoder:
    """Texts to vectors.

    Attributes:
      dim: width of the vectors.
      fingerprint: SHA-256, in hex, over the files that it was loaded from.
      tokenizer: of the library `tokenizers`.
      forward: ids and mask, both [batch, tokens], to vectors [batch, dim].
      special_tokens: whether a text is put between the tokens that the model was trained with.
      lowercase: whether texts are lowercased before they are tokenized.
    """

    dim: int
    fingerprint: str
    tokenizer: Any
    forward: Callable[[np.ndarray, np.ndarray], np.ndarray]
    special_tokens: bool = True
    lowercase: bool = False

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors [texts, dim], float32, in the order of the texts."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        read = [text.lower() for text in texts] if self.lowercase else list(texts)
        tokens = [found.ids for found in self.tokenizer.encode_batch(read, add_special_tokens=self.special_tokens)]
        # Texts of one length need no padding among each other.
        order = sorted(range(len(texts)), key=lambda text: -len(tokens[text]))
        start = 0
        while start < len(order):
            width = max(1, len(tokens[order[start]]))
            batch = order[start : start + max(1, _TOKENS_PER_BATCH // width)]
            ids = np.zeros((len(batch), width), np.int64)
            mask = np.zeros((len(batch), width), bool)
            for row, text in enumerate(batch):
                ids[row, : len(tokens[text])] = tokens[text]
                mask[row, : len(tokens[text])] = True
            vectors[batch] = self.forward(ids, mask)
            start += len(batch)
        return vectors


def load_encoder(folder: str) -> TextEncoder:
    """The encoder that a folder holds.

    Args:
      folder: local or remote, as sentence-transformers or model2vec save a model. Of several weights the first is read
        of `onnx/model.onnx`, `model.onnx`, other ONNX files by name, `model.safetensors`.

    Raises:
      InputError: where there is no such folder, a file is missing, broken, or not fetched by Git LFS, the files are not
        of one model, or Souk cannot run what they hold; where the extra `encoder` is not installed.
    """
    files = EncoderFolder(folder)
    modules = _modules(files)
    base = modules[0][1]
    tokenizer_file = _tokenizer_file(files, base)
    tokenizer_json = files.read(tokenizer_file)
    tokenizer = _tokenizer(files.at(tokenizer_file), tokenizer_json)
    # What saved the folder says it in files of these names.
    config = files.read_object(posixpath.join(base, "config.json"))
    texts = files.read_object(posixpath.join(base, "sentence_bert_config.json"))
    from_model2vec = config.get("model_type") == "model2vec"
    static = from_model2vec or modules[0][0] == "StaticEmbedding"
    limits = (texts.get("max_seq_length"), config.get("max_position_embeddings"))
    longest = min((limit for limit in limits if isinstance(limit, int)), default=_LONGEST_TEXT)
    if static:
        weights_file = _weights_file(files, ["model.safetensors"], base)
        model = read_static(read_weights(files, weights_file), json.loads(tokenizer_json), from_model2vec)
        _check_vocabulary(tokenizer, len(model.rows), files.at(weights_file))
        forward: Callable[[np.ndarray, np.ndarray], np.ndarray] = model
    else:
        weights_file = _weights_file(files, _transformer_files(files, base), base)
        forward, positions = _transformer(files, weights_file, modules, config, tokenizer)
        longest = min(longest, positions)
    normalize = any(kind == "Normalize" for kind, _ in modules) or (from_model2vec and bool(config.get("normalize")))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max(longest, tokenizer.num_special_tokens_to_add(False) + 1))
    return TextEncoder(
        dim=_width(forward, tokenizer, files.at(weights_file)),
        fingerprint=files.fingerprint(),
        tokenizer=tokenizer,
        forward=(lambda ids, mask: normalized(forward(ids, mask))) if normalize else forward,
        special_tokens=not static,
        lowercase=bool(texts.get("do_lower_case")),
    )


def _modules(files: EncoderFolder) -> list[tuple[str, str]]:
    """The kind and the inner folder of each module; of a model saved by itself, a Transformer with mean pooling."""
    name = "modules.json"
    if not files.has(name):
        return [("Transformer", "")]
    listed = files.read_json(name)
    if not isinstance(listed, list) or not listed or not all(isinstance(entry, dict) for entry in listed):
        raise InputError(f"{files.at(name)} must hold a list of modules, as sentence-transformers writes it")
    # A path may be ".", which is no folder of an object store.
    modules = [
        (str(entry.get("type", "")).rpartition(".")[2], posixpath.normpath(str(entry.get("path", ""))).lstrip("."))
        for entry in listed
    ]
    unknown = [kind for kind, _ in modules if kind not in _MODULES]
    if unknown or modules[0][0] not in ("Transformer", "StaticEmbedding"):
        kinds = ", ".join(kind or "without a type" for kind, _ in modules)
        raise InputError(
            f"{files.at(name)} lists the modules {kinds}; Souk runs a Transformer or a StaticEmbedding, then Pooling "
            "and Normalize: choose an encoder of these"
        )
    return modules


def _tokenizer_file(files: EncoderFolder, base: str) -> str:
    looked_for = dict.fromkeys([posixpath.join(base, "tokenizer.json"), "tokenizer.json"])
    found = next((name for name in looked_for if files.has(name)), None)
    if found is None:
        # An empty folder, or one of something else, has more to it than a missing tokenizer.
        _weights_file(files, _transformer_files(files, base), base)
        raise InputError(
            f"{files.path} holds no tokenizer.json, which has the tokens of a model in one file: download it with the "
            "model; where its authors left it out, `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)` of "
            "the library `transformers` writes it"
        )
    return found


def _tokenizer(source: str, content: bytes) -> Any:
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    try:
        return Tokenizer.from_str(content.decode())
    except Exception as error:
        # The library raises plain Exceptions.
        raise InputError(
            f"{source} is truncated, or no file that the library `tokenizers` reads ({error}): download it anew"
        ) from None


def _transformer_files(files: EncoderFolder, base: str) -> list[str]:
    listed = [
        posixpath.join(inner, name)
        for inner in ("onnx", "")
        for name in files.names(posixpath.join(base, inner) if inner else base)
        if name.endswith(".onnx")
    ]
    return list(dict.fromkeys(["onnx/model.onnx", "model.onnx", *listed, "model.safetensors"]))


def _weights_file(files: EncoderFolder, names: Sequence[str], base: str) -> str:
    """The first that is there, one that Git LFS has not fetched where there is no other."""
    there = [path for path in (posixpath.join(base, name) for name in names) if files.has(path)]
    if not there:
        raise no_weights(files, dict.fromkeys(names), files.names(base))
    return next((path for path in there if not files.is_pointer(path)), there[0])


def _transformer(
    files: EncoderFolder, name: str, modules: Sequence[tuple[str, str]], config: Mapping[str, Any], tokenizer: Any
) -> tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], int]:
    """A function from ids and mask to vectors, and how many tokens of a text it reads."""
    poolings = [read_pooling(files, path) for kind, path in modules if kind == "Pooling"] or [mean_pooling]
    positions = sys.maxsize
    if name.endswith(".onnx"):
        token_model: TokenModel = read_onnx(files, name)
    else:
        if not config:
            raise InputError(f"{files.path} holds no config.json, which says what model.safetensors is: download it")
        token_model = model = read_transformer(config, read_weights(files, name), files.path)
        _check_vocabulary(tokenizer, len(model.words), files.at(name))
        positions = model.longest
    if isinstance(token_model, OnnxModel) and token_model.pooled:
        return token_model, positions
    return lambda ids, mask: poolings[0](token_model(ids, mask), mask), positions


def _check_vocabulary(tokenizer: Any, rows: int, source: str) -> None:
    tokens = tokenizer.get_vocab_size()
    if tokens > rows:
        raise InputError(f"tokenizer.json has {tokens} tokens, and {source} vectors for {rows}: they are of two models")


def _width(forward: Callable[[np.ndarray, np.ndarray], np.ndarray], tokenizer: Any, source: str) -> int:
    """The width of the vectors, after a look at one."""
    ids = np.array([tokenizer.encode("laptop").ids or [0]])
    try:
        vectors = forward(ids, np.ones(ids.shape, bool))
    except Exception as error:
        # Only onnxruntime's, which have no base class of their own: what NumPy runs is checked before.
        raise InputError(f"{source} cannot encode a word ({' '.join(str(error).split())})") from None
    if not np.isfinite(vectors).all():
        raise InputError(f"{source} encodes a word to values that are not finite: its weights are broken")
    return int(vectors.shape[1])

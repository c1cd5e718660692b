"""Folders of tiny encoders with random weights, as the libraries that train encoders save them."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

DIM, INNER, LAYERS, HEADS, POSITIONS = 8, 12, 2, 2, 12
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "blue", "shoe", "##s", "lap", "##top", "tea", "pot", "ssd", "a")
IDS = {word: row for row, word in enumerate(WORDS)}
MEAN = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}

_BERT_PARTS = (
    ("attention.self.query", DIM, DIM),
    ("attention.self.key", DIM, DIM),
    ("attention.self.value", DIM, DIM),
    ("attention.output.dense", DIM, DIM),
    ("attention.output.LayerNorm", DIM, 0),
    ("intermediate.dense", INNER, DIM),
    ("output.dense", DIM, INNER),
    ("output.LayerNorm", DIM, 0),
)
_DISTILBERT_NAMES = (
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)


def write_json(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def write_tokenizer(folder: Path, words: tuple[str, ...] = WORDS) -> None:
    ids = {word: row for row, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = [(mark, ids[mark]) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=marks)
    # What many folders come with, though it is not how sentences are encoded.
    tokenizer.enable_padding(length=10)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_modules(folder: Path, pooling: dict | None = None, normalize: bool = False) -> None:
    """`modules.json`, and what it names, of a Transformer."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling"} | ({"2_Normalize": "Normalize"} if normalize else {})
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": DIM, **(pooling or MEAN)})


def write_bert(folder: Path, kind: str = "bert", activation: str = "gelu", prefix: str = "") -> dict[str, np.ndarray]:
    """A Transformer with mean pooling; returns its tensors under BERT's names, without the prefix."""
    random = np.random.default_rng(5)

    def draw(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    named = {
        "embeddings.word_embeddings.weight": draw(len(WORDS), DIM),
        "embeddings.position_embeddings.weight": draw(POSITIONS, DIM),
        "embeddings.token_type_embeddings.weight": draw(2, DIM),
        "embeddings.LayerNorm.weight": draw(DIM),
        "embeddings.LayerNorm.bias": draw(DIM),
    }
    for layer in range(LAYERS):
        for part, out, width in _BERT_PARTS:
            named[f"encoder.layer.{layer}.{part}.weight"] = draw(out, width) if width else draw(out)
            named[f"encoder.layer.{layer}.{part}.bias"] = draw(out)
    config = {"hidden_size": DIM, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "pad_token_id": 0}
    config |= {"intermediate_size": INNER, "hidden_act": activation, "layer_norm_eps": 1e-5}
    stored = named
    if kind == "distilbert":
        config = {"dim": DIM, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": INNER, "activation": activation}
        named["embeddings.token_type_embeddings.weight"][:] = 0.0
        stored = {_distilbert_name(name): tensor for name, tensor in named.items() if "token_type" not in name}
    write_json(folder / "config.json", {"model_type": kind, "max_position_embeddings": POSITIONS, **config})
    save_file({prefix + name: tensor for name, tensor in stored.items()}, folder / "model.safetensors")
    write_tokenizer(folder)
    write_modules(folder)
    return named


def _distilbert_name(name: str) -> str:
    for (part, *_), short in zip(_BERT_PARTS, _DISTILBERT_NAMES, strict=True):
        name = name.replace(f".{part}.", f".{short}.")
    return name.replace("encoder.layer", "transformer.layer")


def write_onnx(
    path: Path,
    pooled: bool = False,
    output: str = "last_hidden_state",
    first: str = "input_ids",
    external: bool = False,
) -> np.ndarray:
    """A model that looks up each token, [words, DIM], which it returns; `pooled` takes their maximum."""
    table = np.random.default_rng(6).normal(size=(len(WORDS), DIM)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", first], ["tokens" if pooled else output])]
    if pooled:
        nodes.append(helper.make_node("ReduceMax", ["tokens"], [output], axes=[1], keepdims=0))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in (first, "attention_mask")
    ]
    shape = ["batch", DIM] if pooled else ["batch", "tokens", DIM]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, [numpy_helper.from_array(table, "table")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    apart = {"save_as_external_data": True, "location": f"{path.name}_data", "size_threshold": 0} if external else {}
    onnx.save(model, str(path), **apart)
    return table


def write_model2vec(
    folder: Path, normalize: bool = False, dtype: type = np.float32, **tensors: np.ndarray
) -> np.ndarray:
    """A static model; returns its vectors, [words, DIM]. Further tensors are stored beside them."""
    vectors = np.random.default_rng(7).normal(size=(len(WORDS), DIM)).astype(dtype)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"embeddings": vectors, **tensors}, folder / "model.safetensors")
    write_json(folder / "config.json", {"model_type": "model2vec", "normalize": normalize})
    modules = [{"path": ".", "type": "sentence_transformers.models.StaticEmbedding"}]
    write_json(folder / "modules.json", modules)
    write_tokenizer(folder)
    return vectors.astype(np.float32)

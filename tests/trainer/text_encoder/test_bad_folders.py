"""Folders that hold no encoder that Souk can run, and what the user is told."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from schema.settings import InputError
from tests.trainer.text_encoder import tiny_encoders
from tests.trainer.text_encoder.tiny_encoders import DIM, WORDS
from trainer.text_encoder import load_encoder

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 90868376\n"


@pytest.fixture
def folder(tmp_path):
    """Of a Transformer that can be run."""
    tiny_encoders.write_bert(tmp_path)
    load_encoder(str(tmp_path))
    return tmp_path


@pytest.fixture
def static_folder(tmp_path):
    """Of a model2vec model that can be run."""
    tiny_encoders.write_model2vec(tmp_path)
    load_encoder(str(tmp_path))
    return tmp_path


def refused(folder, match):
    with pytest.raises(InputError, match=match):
        load_encoder(str(folder))


def change(path, **values):
    tiny_encoders.write_json(path, {**json.loads(path.read_text()), **values})


def change_tensors(path, tensors):
    """Stores further tensors; None takes one away."""
    changed = load_file(path) | tensors
    save_file({name: tensor for name, tensor in changed.items() if tensor is not None}, path)


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_a_name_on_a_hub_is_answered_with_how_to_download_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = (
        "Souk downloads nothing when it runs. Download it once, with `hf download "
        "sentence-transformers/all-MiniLM-L6-v2 --local-dir models/all-MiniLM-L6-v2`, and set "
        "`train.text_encoder: models/all-MiniLM-L6-v2`"
    )
    refused(name, said)
    # As a file of settings makes it absolute.
    refused(tmp_path / "sentence-transformers/all-MiniLM-L6-v2", said)


@pytest.mark.parametrize("name", ["{}/models", "./models", "/nowhere/of/all/mo dels"])
def test_a_missing_folder_is_named(name, tmp_path):
    refused(name.format(tmp_path), r"there is no folder .*mo ?dels; give the folder of a sentence encoder")


def test_a_remote_folder_may_only_be_out_of_reach():
    refused(
        "ram://nowhere/models", "there is no folder ram://nowhere/models, or none that the credentials here may read"
    )


def test_a_file_is_no_folder(folder):
    refused(folder / "model.safetensors", "is a file: give the folder that holds it")


def test_an_empty_folder_says_which_files_were_looked_for(tmp_path):
    refused(tmp_path, r"no weights: none of onnx/model.onnx, model.onnx, model.safetensors is there .*nothing")


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, r"it holds: .*pytorch_model.bin.*\); Souk reads no pickled weights: .*safe_serialization=True")


def test_a_static_model_without_weights(static_folder):
    (static_folder / "model.safetensors").unlink()
    refused(static_folder, r"holds no weights: none of model.safetensors is there \(it holds: config.json")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "modules.json"])
def test_a_pointer_of_git_lfs_is_told_from_the_file(name, folder):
    (folder / name).write_text(POINTER)
    refused(folder, f"{name} is a Git LFS pointer, not the file itself: run `git lfs pull`")


def test_a_missing_tokenizer_is_told_how_to_write(folder):
    (folder / "tokenizer.json").unlink()
    refused(folder, r"no tokenizer.json.*`AutoTokenizer.from_pretrained\(folder\).save_pretrained\(folder\)`")


def test_a_missing_config_is_named(folder):
    (folder / "config.json").unlink()
    refused(folder, "holds no config.json, which says what model.safetensors is")


def test_a_truncated_tokenizer_is_no_tokenizer(folder):
    path = folder / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:-100])
    refused(folder, "tokenizer.json is truncated, or no file that the library `tokenizers` reads")


@pytest.mark.parametrize("name", ["config.json", "modules.json", "1_Pooling/config.json"])
@pytest.mark.parametrize(("text", "said"), [("{", "is not JSON"), ("3", "must hold a"), ("\xff", "is not JSON")])
def test_a_broken_json_file_is_named(name, text, said, folder):
    (folder / name).write_text(text, encoding="latin-1")
    refused(folder, f"{name} {said}")


@pytest.mark.parametrize("length", [0, 7, 100, 2000])
@pytest.mark.parametrize("name", ["model.safetensors", "onnx/model.onnx"])
def test_truncated_weights_are_refused(name, length, folder):
    tiny_encoders.write_onnx(folder / "onnx/model.onnx")
    if name == "model.safetensors":
        (folder / "onnx/model.onnx").unlink()
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: min(length, len(content) - 1)])
    refused(folder, f"{name} is truncated, or no")


def test_weights_that_are_not_finite_are_refused(folder):
    change_tensors(folder / "model.safetensors", {"embeddings.LayerNorm.bias": np.full(DIM, np.nan, np.float32)})
    refused(folder, "values that are not finite: its weights are broken")


def test_an_unsupported_architecture_is_named(folder):
    change(folder / "config.json", model_type="mpnet", architectures=["MPNetModel"])
    refused(folder, r"architecture MPNetModel, .* it runs bert, roberta, xlm-roberta, camembert, distilbert and static")
    change(folder / "config.json", model_type=None, architectures=None)
    refused(folder, "architecture no `model_type` in config.json")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"hidden_act": "silu"}, "activation silu; Souk runs gelu, gelu_new, relu"),
        ({"position_embedding_type": "relative_key"}, "positions of the type relative_key"),
        ({"num_attention_heads": 3}, "3 attention heads do not divide the width 8"),
        ({"num_hidden_layers": 3}, "has no tensor `encoder.layer.2.attention.self.query.weight`"),
        ({"hidden_size": 10}, r"is \[12, 8\], and config.json and the other tensors make it \[any, 10\]"),
        ({"intermediate_size": 16}, r"`encoder.layer.0.intermediate.dense.weight` of .* is \[12, 8\].*\[16, 8\]"),
    ],
)
def test_a_config_that_is_not_the_weights_is_refused(values, said, folder):
    change(folder / "config.json", **values)
    refused(folder, said)


def test_a_config_without_the_sizes_is_refused(folder):
    tiny_encoders.write_json(folder / "config.json", {"model_type": "bert", "hidden_size": DIM})
    refused(folder, "config.json has no numbers for num_hidden_layers, num_attention_heads, intermediate_size")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_file_that_cannot_be_opened_is_named(name, folder):
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, f"{name} cannot be read: .*[Ii]s a directory")


@pytest.mark.parametrize("write", [tiny_encoders.write_bert, tiny_encoders.write_model2vec])
def test_a_tokenizer_of_another_model_is_refused(write, tmp_path):
    write(tmp_path)
    tiny_encoders.write_tokenizer(tmp_path, (*WORDS, "more"))
    refused(tmp_path, f"tokenizer.json has {len(WORDS) + 1} tokens, and .* vectors for {len(WORDS)}")


def test_an_onnx_model_that_cannot_look_up_a_word_is_refused(folder):
    tiny_encoders.write_onnx(folder / "model.onnx")
    tiny_encoders.write_tokenizer(folder, (*WORDS[:-1], *(f"w{n}" for n in range(50)), "laptop"))
    refused(folder, "model.onnx cannot encode a word .*indices element out of data bounds")


def test_modules_that_are_not_run_are_named(folder):
    path = folder / "modules.json"
    modules = [*json.loads(path.read_text()), {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]
    tiny_encoders.write_json(path, modules)
    refused(folder, "lists the modules Transformer, Pooling, Dense; Souk runs a Transformer or a StaticEmbedding")
    tiny_encoders.write_json(path, modules[1:2])
    refused(folder, "lists the modules Pooling; Souk runs")


def test_an_unsupported_pooling_is_named(folder):
    change(folder / "1_Pooling/config.json", pooling_mode_lasttoken=True)
    refused(folder, "pools by lasttoken, which Souk does not; it pools by cls, max, mean, mean_sqrt_len_tokens")


def test_an_onnx_model_with_other_inputs_is_refused(folder):
    tiny_encoders.write_onnx(folder / "model.onnx", first="pixels")
    refused(folder, "model.onnx has the inputs pixels; Souk runs encoders whose inputs")


def test_an_onnx_model_that_scores_texts_is_no_encoder(folder):
    tiny_encoders.write_onnx(folder / "model.onnx", pooled=True, output="logits")
    refused(folder, r"has no output with a vector for each token, .* it has logits \['batch', 8\]")


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"embeddings": None}, "has no tensor `embeddings`"),
        ({"embeddings": np.zeros(14, np.float32)}, r"is \[14\]"),
        ({"mapping": np.arange(1, len(WORDS) + 1)}, "reach beyond"),
        ({"weights": np.ones(len(WORDS) + 1)}, "reach beyond"),
        ({"weights": np.ones(3), "mapping": np.arange(len(WORDS))}, r"`weights` of .* is \[3\].*\[14\]"),
        ({"embeddings": np.zeros((14, 8), np.uint8)}, "`embeddings` of .* is U8; read are BF16, F64"),
    ],
)
def test_a_static_model_whose_tensors_do_not_fit_is_refused(tensors, said, static_folder):
    change_tensors(static_folder / "model.safetensors", {"other": np.ones(1), **tensors})
    refused(static_folder, said)


@pytest.mark.parametrize("library", ["tokenizers", "safetensors", "onnxruntime"])
def test_a_library_that_is_not_installed_is_told_how_to_install(library, folder, monkeypatch):
    if library == "onnxruntime":
        tiny_encoders.write_onnx(folder / "model.onnx")
    monkeypatch.setitem(sys.modules, library, None)
    refused(folder, rf"needs `{library}`, which is not installed: run pip install 'souk-retrieval\[encoder\]'")

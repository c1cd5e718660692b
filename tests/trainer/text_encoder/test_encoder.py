"""What is read out of an encoder's folder, and how texts become vectors."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.trainer.text_encoder import tiny_encoders
from tests.trainer.text_encoder.tiny_encoders import IDS, WORDS
from trainer.text_encoder import load_encoder

CLS, SEP, RED, SHOE, TEA = (IDS[word] for word in ("[CLS]", "[SEP]", "red", "shoe", "tea"))


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    tiny_encoders.write_bert(folder)
    return folder


@pytest.fixture(scope="session")
def bert(bert_folder):
    return load_encoder(str(bert_folder))


def onnx_folder(folder, pooling=None, normalize=False, name="onnx/model.onnx", **model):
    """An encoder that looks up each token in a table, which is returned."""
    tiny_encoders.write_tokenizer(folder)
    tiny_encoders.write_modules(folder, pooling, normalize)
    return tiny_encoders.write_onnx(folder / name, **model)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30) | st.lists(st.sampled_from(WORDS), max_size=15).map(" ".join), max_size=6))
def test_a_text_is_encoded_among_others_as_alone(bert, texts):
    together = bert.encode(texts)
    assert together.shape == (len(texts), bert.dim)
    assert together.dtype == np.float32
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(vector, bert.encode([text])[0], atol=1e-5)


def test_many_texts_come_back_in_their_order(bert):
    texts = [f"{'red ' * (n % 7)}tea" for n in range(3000)]
    found = bert.encode(texts)
    for n in (0, 1, 6, 1500, 2999):
        np.testing.assert_allclose(found[n], bert.encode([texts[n]])[0], atol=1e-5)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pooling_mode_cls_token": True}, lambda t: t[0]),
        ({"pooling_mode_mean_tokens": True}, lambda t: t.mean(axis=0)),
        ({"pooling_mode_max_tokens": True}, lambda t: t.max(axis=0)),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, lambda t: t.sum(axis=0) / len(t) ** 0.5),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, lambda t: np.r_[t[0], t.mean(axis=0)]),
        ({"pooling_mode": "cls"}, lambda t: t[0]),
        ({"pooling_mode": ["max", "mean"]}, lambda t: np.r_[t.max(axis=0), t.mean(axis=0)]),
        ({}, lambda t: t.mean(axis=0)),
    ],
)
def test_tokens_are_pooled_as_the_folder_says(config, expected, tmp_path):
    table = onnx_folder(tmp_path, pooling={"pooling_mode_mean_tokens": False, **config})
    encoder = load_encoder(str(tmp_path))
    # The longer text pads the shorter one.
    found = encoder.encode(["tea", "red shoe tea"])
    np.testing.assert_allclose(found[0], expected(table[[CLS, TEA, SEP]]), rtol=1e-5)
    np.testing.assert_allclose(found[1], expected(table[[CLS, RED, SHOE, TEA, SEP]]), rtol=1e-5)
    assert encoder.dim == found.shape[1]


def test_vectors_have_unit_length_where_modules_normalize(tmp_path):
    table = onnx_folder(tmp_path, normalize=True)
    mean = table[[CLS, TEA, SEP]].mean(axis=0)
    np.testing.assert_allclose(load_encoder(str(tmp_path)).encode(["tea"])[0], mean / np.linalg.norm(mean), rtol=1e-5)


def test_a_model_saved_by_itself_is_pooled_by_the_mean(bert_folder, bert, tmp_path):
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(bert_folder / name, tmp_path / name)
    assert (load_encoder(str(tmp_path)).encode(["red tea"]) == bert.encode(["red tea"])).all()


@pytest.mark.parametrize("name", ["onnx/model.onnx", "model.onnx", "onnx/model_qint8_avx512.onnx", "model_int8.onnx"])
def test_an_onnx_file_goes_before_safetensors(name, tmp_path):
    tiny_encoders.write_bert(tmp_path)
    table = tiny_encoders.write_onnx(tmp_path / name)
    found = load_encoder(str(tmp_path)).encode(["tea"])[0]
    np.testing.assert_allclose(found, table[[CLS, TEA, SEP]].mean(axis=0), rtol=1e-5)


def test_the_whole_onnx_model_goes_before_its_variants(tmp_path):
    table = onnx_folder(tmp_path)
    tiny_encoders.write_onnx(tmp_path / "onnx/a_variant.onnx", pooled=True)
    found = load_encoder(str(tmp_path)).encode(["tea"])[0]
    np.testing.assert_allclose(found, table[[CLS, TEA, SEP]].mean(axis=0), rtol=1e-5)


def test_weights_that_git_lfs_fetched_go_before_pointers(tmp_path):
    tiny_encoders.write_bert(tmp_path)
    expected = load_encoder(str(tmp_path)).encode(["tea"])
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert (load_encoder(str(tmp_path)).encode(["tea"]) == expected).all()


@pytest.mark.parametrize("name", ["onnx/model.onnx", "model.onnx"])
def test_onnx_weights_may_lie_beside_the_model(name, tmp_path):
    table = onnx_folder(tmp_path, name=name, external=True)
    assert (tmp_path / f"{name}_data").exists()
    found = load_encoder(str(tmp_path)).encode(["tea"])[0]
    np.testing.assert_allclose(found, table[[CLS, TEA, SEP]].mean(axis=0), rtol=1e-5)


def test_an_onnx_model_that_pools_itself_is_not_pooled_again(tmp_path):
    table = onnx_folder(tmp_path, pooled=True, output="sentence_embedding")
    found = load_encoder(str(tmp_path)).encode(["tea"])[0]
    np.testing.assert_allclose(found, table[[CLS, TEA, SEP]].max(axis=0), rtol=1e-5)


def test_texts_end_at_the_longest_that_the_model_reads(bert_folder, bert, tmp_path):
    folder = tmp_path / "short"
    shutil.copytree(bert_folder, folder)
    tiny_encoders.write_json(folder / "sentence_bert_config.json", {"max_seq_length": 4})
    short = load_encoder(str(folder))
    np.testing.assert_allclose(short.encode(["red shoe tea ssd"]), bert.encode(["red shoe"]), atol=1e-5)
    # As long as the model has positions.
    assert np.isfinite(bert.encode(["red " * 50])).all()


def test_texts_are_lowercased_where_the_folder_says_so(tmp_path):
    table = onnx_folder(tmp_path)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    tiny_encoders.write_json(tmp_path / "tokenizer.json", {**tokenizer, "normalizer": None})
    tiny_encoders.write_json(tmp_path / "sentence_bert_config.json", {"do_lower_case": True})
    found = load_encoder(str(tmp_path)).encode(["TEA"])[0]
    np.testing.assert_allclose(found, table[[CLS, TEA, SEP]].mean(axis=0), rtol=1e-5)


def test_model2vec_leaves_unknown_tokens_out(tmp_path):
    vectors = tiny_encoders.write_model2vec(tmp_path)
    found = load_encoder(str(tmp_path)).encode(["red unheard shoe", "unheard", ""])
    np.testing.assert_allclose(found[0], vectors[[RED, SHOE]].mean(axis=0), rtol=1e-5)
    assert not found[1:].any()


def test_model2vec_weighs_and_shares_vectors(tmp_path):
    weights = np.linspace(0.5, 2.0, len(WORDS))
    mapping = np.arange(len(WORDS))
    mapping[TEA] = RED
    vectors = tiny_encoders.write_model2vec(tmp_path, normalize=True, weights=weights, mapping=mapping)
    found = load_encoder(str(tmp_path)).encode(["shoe tea"])[0]
    expected = vectors[SHOE] * weights[SHOE] + vectors[RED] * weights[TEA]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-5)


def test_half_precision_is_read_as_its_values(tmp_path):
    vectors = tiny_encoders.write_model2vec(tmp_path / "half", dtype=np.float16)
    np.testing.assert_array_equal(load_encoder(str(tmp_path / "half")).encode(["tea"])[0], vectors[TEA])
    tiny_encoders.write_model2vec(tmp_path / "brain", dtype=np.float32)
    brain = tf.cast(vectors, tf.bfloat16)
    content = _safetensors_of_bf16("embeddings", brain.numpy().view(np.uint16))
    (tmp_path / "brain/model.safetensors").write_bytes(content)
    expected = tf.cast(brain, tf.float32).numpy()[TEA]
    np.testing.assert_array_equal(load_encoder(str(tmp_path / "brain")).encode(["tea"])[0], expected)


def _safetensors_of_bf16(name, bits):
    header = {name: {"dtype": "BF16", "shape": bits.shape, "data_offsets": [0, bits.nbytes]}}
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + bits.tobytes()


def test_static_embeddings_of_sentence_transformers(tmp_path):
    inner = tmp_path / "0_StaticEmbedding"
    tiny_encoders.write_tokenizer(inner)
    vectors = np.random.default_rng(8).normal(size=(len(WORDS), 5)).astype(np.float32)
    save_file({"embedding.weight": vectors}, inner / "model.safetensors")
    module = {"path": inner.name, "type": "sentence_transformers.models.StaticEmbedding"}
    tiny_encoders.write_json(tmp_path / "modules.json", [module])
    found = load_encoder(str(tmp_path)).encode(["red unheard"])[0]
    np.testing.assert_allclose(found, vectors[[RED, IDS["[UNK]"]]].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("write", [tiny_encoders.write_bert, tiny_encoders.write_model2vec, onnx_folder])
def test_a_remote_folder_is_read_as_a_local_one(write, tmp_path):
    write(tmp_path)
    remote = f"ram://{tmp_path.name}"
    for file in tmp_path.rglob("*"):
        if file.is_file():
            target = f"{remote}/{file.relative_to(tmp_path)}"
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            tf.io.gfile.copy(str(file), target)
    local, there = load_encoder(str(tmp_path)), load_encoder(remote)
    assert there.fingerprint == local.fingerprint
    assert (there.encode(["red tea"]) == local.encode(["red tea"])).all()


def test_the_fingerprint_is_of_what_is_read(tmp_path):
    tiny_encoders.write_bert(tmp_path)
    before = load_encoder(str(tmp_path)).fingerprint
    (tmp_path / "README.md").write_text("An encoder.")
    assert load_encoder(str(tmp_path)).fingerprint == before
    tiny_encoders.write_modules(tmp_path, normalize=True)
    normalized = load_encoder(str(tmp_path)).fingerprint
    tiny_encoders.write_bert(tmp_path, activation="relu")
    assert len({before, normalized, load_encoder(str(tmp_path)).fingerprint}) == 3

import shutil
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from schema import features
from serving.server import loader, warm_up
from souk_client.examples import search_example
from tests.serving import tiny_retriever


@pytest.fixture(scope="module")
def model() -> loader.LoadedModel:
    return loader.load(tiny_retriever.built())


def test_a_loaded_signature_gives_what_the_model_gives(model):
    batch = tf.constant([search_example("red shoes"), search_example("black lamp")])
    original = tiny_retriever.TinyRetriever(version=1, k=10, flaw="none")
    expected = original.serving_default(batch)
    outputs = model.run("serving_default", {"examples": batch.numpy()})
    np.testing.assert_array_equal(outputs["item_ids"], expected["item_ids"])
    np.testing.assert_allclose(outputs["scores"], expected["scores"], rtol=1e-5)


def test_the_signatures_are_those_of_the_saved_model(model):
    assert model.signatures.keys() == model.signature_defs.signature_def.keys()
    assert model.signatures.keys() == {"serving_default", "query_text", "encode_query", "encode_items"}


def test_an_output_filter_picks_the_outputs(model):
    inputs = {"query": np.array([b"red"], object)}
    assert model.check("query_text", inputs, ["scores"]) == [features.OUTPUT_SCORES]
    assert set(model.check("query_text", inputs, [])) == model.run("query_text", inputs).keys()


@pytest.mark.parametrize(
    ("signature", "inputs", "output_filter", "message"),
    [
        ("nowhere", {}, [], 'Serving signature key "nowhere" not found'),
        ("query_text", {"q": ["red"]}, [], "Sent extra: {q}. Missing but required: {query}"),
        ("query_text", {}, [], "input size does not match signature: 0!=1"),
        ("query_text", {"query": [1.0]}, [], "input 'query' must be string, got float32"),
        ("query_text", {"query": [["red"]]}, [], r"input 'query' must have shape \(None,\), got \(1, 1\)"),
        ("query_text", {"query": ["red"]}, ["price"], "output tensor alias not found in signature: price"),
        ("query_text", {"query": ["red"]}, ["scores", "scores"], "duplicate output tensor alias: scores"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(model, signature, inputs, output_filter, message):
    tensors = {name: tf.constant(values).numpy() for name, values in inputs.items()}
    with pytest.raises(loader.SignatureError, match=message):
        model.check(signature, tensors, output_filter)


def test_a_model_with_scann_ops_loads_without_importing_scann(tmp_path):
    """In a process of its own, because here another test may have registered the ops already."""
    import subprocess
    import sys

    from scann.scann_ops.py import scann_ops

    vectors = np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32)

    class Index(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.searcher = scann_ops.builder(vectors, 5, "dot_product").score_brute_force().build()
            self.assets = self.searcher.serialize_to_module()

        @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32, "vectors")])
        def search(self, vectors: tf.Tensor) -> dict[str, tf.Tensor]:
            # Within a condition, as in a servable that is not always asked for its index.
            def rows():
                found = scann_ops.searcher_from_module(self.assets).search_batched(vectors)[0]
                return tf.ensure_shape(tf.cast(found, tf.int32), [None, 5])

            return {"rows": tf.cond(tf.size(vectors) > 0, rows, lambda: tf.zeros([0, 5], tf.int32))}

    index = Index()
    tf.saved_model.save(index, str(tmp_path), signatures={"serving_default": index.search})
    code = f"""
import pathlib, numpy as np, tensorflow as tf
from serving.server import loader
vectors = np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32)
model = loader.load(pathlib.Path({str(tmp_path)!r}))
print(model.run("serving_default", {{"vectors": vectors[:3]}})["rows"].tolist())
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    expected = np.argsort(-vectors[:3] @ vectors.T, axis=1)[:, :5].tolist()
    assert done.stdout.strip() == str(expected)


def test_a_value_without_dimensions_is_an_array_too(tmp_path):
    class Plain(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.string, "text"), tf.TensorSpec([], tf.int64, "number")])
        def echo(self, text, number):
            return {"text": tf.identity(text), "number": tf.identity(number)}

    plain = Plain()
    tf.saved_model.save(plain, str(tmp_path), signatures={"echo": plain.echo})
    outputs = loader.load(tmp_path).run("echo", {"number": np.array(7), "text": np.array(b"a\0", object)})
    assert {name: (array.shape, array.item()) for name, array in outputs.items()} == {
        "text": ((), b"a\0"),
        "number": ((), 7),
    }


def test_a_version_is_warm_on_every_signature_before_it_is_served():
    ran = []

    def answer(name, *arguments):
        ran.append((name, [array.tolist() for array in arguments]))
        if name == "encode_items":
            raise tf.errors.InvalidArgumentError(None, None, "no such item")
        return [np.zeros(1)]

    model = loader.load(tiny_retriever.built())
    model = loader.LoadedModel(
        {
            name: loader.Signature(partial(answer, name), signature.inputs, ("any",))
            for name, signature in model.signatures.items()
        },
        model.signature_defs,
    )
    warm_up.run_once(model, {"serving_default"})
    assert [name for name, _ in ran] == ["encode_items", "encode_query", "query_text"]
    assert ran[-1] == ("query_text", [[b""]])


def test_the_recorded_warm_up_requests_are_read_up_to_the_limit(tmp_path):
    path = tmp_path / "1"
    shutil.copytree(tiny_retriever.built(), path)
    requests = loader.warm_up_requests(path, limit=10)
    assert [request.model_spec.signature_name for request in requests] == ["serving_default"]
    assert loader.warm_up_requests(path, limit=0) == []
    shutil.rmtree(path / "assets.extra")
    assert loader.warm_up_requests(path, limit=10) == []


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_broken_saved_model_is_an_error(tmp_path, content):
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(Exception, match=r"no graph with the tag|Error parsing"):
        loader.load(tmp_path)

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest
import tensorflow as tf

from schema import features
from schema.features import RelevanceControl
from schema.settings import InputError
from souk_client.client import Behavior, Client, Hit, ServingError, Signature, TensorSpec, VersionStatus
from tests.serving import tiny_retriever

HEAVY = ("tensorflow", "tfx", "tensorflow_serving", "numpy", "pandas", "pyarrow", "polars", "pydantic", "yaml", "scann")


@pytest.fixture
def client(server) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


def test_search_returns_the_best_items_first(client):
    hits = client.search("blue kettle")
    assert hits[0].item_id == f"v3-{tiny_retriever.TITLES.index('blue kettle')}"
    assert [hit.rank for hit in hits] == list(range(1, 11))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(isinstance(hit, Hit) for hit in hits)


def test_search_finds_words_beyond_ascii(client):
    assert client.search("crème 跑步鞋", k=1)[0].item_id == f"v3-{tiny_retriever.TITLES.index('crème 跑步鞋')}"


def test_k_cuts_the_answer(client):
    assert client.search("red", k=4) == client.search("red")[:4]


def test_a_k_beyond_the_models_returns_what_the_model_has(client):
    answer = client.answer("red", k=1000)
    assert (len(answer.hits), answer.places) == (10, 10)


def test_behavior_changes_the_answer(client):
    plain = client.search("shirt", user_id="u1")
    personal = client.search("shirt", user_id="u1", behavior=Behavior(history_queries=["black lamp"]))
    assert [hit.item_id for hit in plain] != [hit.item_id for hit in personal]


def test_relevance_control_is_asked_for_and_told_of(client):
    left, plain = client.answer("blue kettle", relevance_control=True), client.answer("blue kettle")
    assert (left.relevance_control, plain.relevance_control) == (RelevanceControl.APPLIED, RelevanceControl.OFF)
    assert 0 < len(left.hits) < len(plain.hits)
    assert left.hits == plain.hits[: len(left.hits)]
    assert client.search("blue kettle", relevance_control=False) == plain.hits


def test_a_model_from_before_relevance_control_answers_as_ever(tmp_path, start_server, monkeypatch):
    search = tiny_retriever.TinyRetriever._search
    ever = (features.OUTPUT_ITEM_IDS, features.OUTPUT_SCORES)

    def without(self, vectors, control):
        return {name: value for name, value in search(self, vectors, tf.zeros_like(control)).items() if name in ever}

    monkeypatch.setattr(tiny_retriever.TinyRetriever, "_search", without)
    tiny_retriever.build(tmp_path / "1", warm_up=False)
    server = start_server(tmp_path)
    assert server.manager.wait_until_available(60)
    with Client(server.address) as client:
        answer = client.answer("blue kettle", relevance_control=True)
    assert (answer.relevance_control, len(answer.hits)) == (None, 10)


def test_an_answer_names_the_version_that_gave_it(client):
    assert client.answer("red").model_version == 3


def test_places_without_an_item_are_no_hits(tmp_path, start_server):
    tiny_retriever.build(tmp_path / "1", k=len(tiny_retriever.TITLES) + 5, warm_up=False)
    server = start_server(tmp_path)
    assert server.manager.wait_until_available(60)
    with Client(server.address) as client:
        answer = client.answer("red")
    assert (len(answer.hits), answer.places) == (len(tiny_retriever.TITLES), len(tiny_retriever.TITLES) + 5)


def test_status_names_version_and_state(client):
    assert client.status() == [VersionStatus(3, "AVAILABLE", "")]


def test_metadata_names_every_signature_with_its_tensors(client):
    found = client.metadata()
    assert found.keys() == {"serving_default", "query_text", "encode_query", "encode_items"}
    text = TensorSpec("DT_STRING", (-1,))
    answer = {
        features.OUTPUT_ITEM_IDS: TensorSpec("DT_STRING", (-1, 10)),
        features.OUTPUT_SCORES: TensorSpec("DT_FLOAT", (-1, 10)),
        features.OUTPUT_RELEVANCE_CONTROL: TensorSpec("DT_STRING", (-1,)),
    }
    vectors = {features.OUTPUT_VECTORS: TensorSpec("DT_FLOAT", (-1, 1, tiny_retriever.DIM))}
    assert found["serving_default"] == Signature({features.INPUT_EXAMPLES: text}, answer | vectors)
    assert found["query_text"] == Signature({features.INPUT_QUERY: text}, answer)
    assert found["encode_query"].outputs == vectors


@pytest.mark.parametrize("query", ["", "   "])
def test_an_empty_query_is_refused_before_anything_is_sent(query):
    with Client("localhost:1") as client, pytest.raises(InputError, match="query is empty"):
        client.search(query)


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.answer_examples([]),
        lambda client: client.retrieve("query_text", "query", []),
        lambda client: client.predict("encode_items", "examples", []),
        lambda client: client.begin("encode_query", "examples", [], timeout_s=1),
    ],
    ids=["answer_examples", "retrieve", "predict", "begin"],
)
def test_an_empty_batch_is_refused_before_anything_is_sent(ask):
    with Client("localhost:1") as client, pytest.raises(InputError, match="no values to send"):
        ask(client)


@pytest.mark.parametrize("k", [0, -3])
def test_a_k_below_one_is_refused(client, k):
    with pytest.raises(InputError, match=f"at least 1, got {k}"):
        client.search("red", k=k)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(InputError, match="address is empty"):
        Client("")
    with pytest.raises(InputError, match="more than 0 seconds, got 0"):
        Client("localhost:1", timeout_s=0)


def test_if_nothing_listens_the_error_names_target_and_command():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{free.getsockname()[1]}"
    with Client(target) as client, pytest.raises(ServingError) as caught:
        client.search("red")
    assert target in str(caught.value)
    assert "souk serve" in str(caught.value)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_a_server_that_never_answers_runs_into_the_deadline():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(target, timeout_s=0.3) as client, pytest.raises(ServingError) as caught:
            client.search("red")
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "0.3 s" in str(caught.value)


def test_an_unknown_model_or_version_is_named(server):
    for wrong in ({"model_name": "bazaar"}, {"version": 99}):
        with Client(server.address, **wrong) as client, pytest.raises(ServingError) as caught:
            client.search("red")
        assert caught.value.code is grpc.StatusCode.NOT_FOUND
        assert str(*wrong.values()) in str(caught.value)


def test_a_model_that_is_not_souks_is_recognized(client):
    response = client.predict("encode_query", "examples", [b""])
    client.predict = lambda *_: response
    with pytest.raises(ServingError, match="a form that is not Souk's"):
        client.search("red")


def test_the_client_imports_nothing_as_heavy_as_tensorflow():
    code = f"""
import json, sys
import souk_client.client
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []

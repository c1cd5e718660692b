"""The client of a full index and its delta index, both on one server."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
import tensorflow as tf

from schema import features
from schema.features import RelevanceControl
from souk_client.client import Client, ServingError
from souk_client.delta import Delta
from souk_client.sharded_client import ShardedClient
from tests.serving import tiny_retriever
from tests.serving.waiting import wait_for

TITLES = tiny_retriever.TITLES
CHANGED = f"v3-{TITLES.index('blue kettle')}"
REMOVED = f"v3-{TITLES.index('green kettle')}"


class TinyDelta(tf.Module):
    """The delta index of a `TinyRetriever`, over titles by id."""

    def __init__(self, items: Mapping[str, str], full_version: int, left_out: list[str]) -> None:
        super().__init__()
        full = tiny_retriever.TinyRetriever(3, 10, "none")
        self.full_version, self.left_out = str(full_version), left_out
        self.ids = tf.constant([*items, *[""] * (10 - len(items))])
        self.vectors = tf.Variable(full._embed(tf.constant(list(items.values()))))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, features.INPUT_EXAMPLES),
            tf.TensorSpec([None, 1, tiny_retriever.DIM], tf.float32, features.INPUT_VECTORS),
        ]
    )
    def retrieve_by_vectors(self, examples: tf.Tensor, vectors: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = tf.matmul(vectors[:, 0], self.vectors, transpose_b=True)
        scores = tf.pad(scores, [[0, 0], [0, 10 - self.vectors.shape[0]]], constant_values=-math.inf)
        order = tf.argsort(scores, axis=1, direction="DESCENDING")
        return {
            features.OUTPUT_ITEM_IDS: tf.gather(self.ids, order),
            features.OUTPUT_SCORES: tf.gather(scores, order, batch_dims=1),
            features.OUTPUT_RELEVANCE_CONTROL: tf.fill([tf.size(examples)], RelevanceControl.OFF),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_QUERY)])
    def delta(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.size(query)
        return {
            features.OUTPUT_FULL_VERSION: tf.fill([rows], self.full_version),
            features.OUTPUT_LEFT_OUT: tf.repeat(tf.constant([self.left_out], tf.string), rows, axis=0),
        }


def push_delta(base: Path, version: int, items: Mapping[str, str], full_version: int, left_out: list[str]) -> None:
    model = TinyDelta(items, full_version, left_out)
    signatures = {name: getattr(model, name) for name in ("retrieve_by_vectors", "delta")}
    staged = base / f".{version}"
    tf.saved_model.save(model, str(staged), signatures=signatures)
    staged.rename(base / str(version))


@pytest.fixture
def shop(tmp_path, start_server):
    """A server of version 3 whose delta may come, and the folder that it comes to."""
    (tmp_path / "souk").mkdir()
    tiny_retriever.push(tmp_path / "souk", 3)
    server = start_server(tmp_path / "souk", versions=2)
    assert server.manager.wait_until_available(60)
    return server, tmp_path / "souk_delta"


def wait_for_version(server, name: str, version: int) -> None:
    def there() -> bool:
        with Client(server.address, model_name=name) as client:
            try:
                return client.status()[0].version == version and client.status()[0].state == "AVAILABLE"
            except ServingError:
                return False

    wait_for(there, f"version {version} of {name}")


def ids(client, query: str) -> list[str]:
    return [hit.item_id for hit in client.search(query)]


def calls(client: Client, monkeypatch) -> list[str]:
    """The signatures of the delta index that are asked from now on."""
    asked: list[str] = []
    server = client._delta._server
    predict = server.predict_tensors
    monkeypatch.setattr(
        server, "predict_tensors", lambda name, *a, **b: (asked.append(name), predict(name, *a, **b))[1]
    )
    return asked


def test_full_and_delta_answer_as_one_as_versions_come_and_go(shop, monkeypatch):
    server, folder = shop
    early = Client(server.address)
    asked = calls(early, monkeypatch)
    plain = [ids(early, "blue kettle") for _ in range(3)]
    # There is none yet: looked for once, and not at each request.
    assert (asked, early.answer("blue kettle").delta_version) == ([features.SIGNATURE_DELTA], None)
    assert plain[0][0] == CHANGED

    folder.mkdir()
    push_delta(folder, 1, {CHANGED: "pink kettle", "new": "blue kettle"}, 3, [CHANGED, REMOVED])
    wait_for_version(server, "souk_delta", 1)
    with Client(server.address) as client:
        asked = calls(client, monkeypatch)
        answer = client.answer("blue kettle")
        assert (answer.model_version, answer.delta_version, answer.places) == (3, 1, 10)
        assert answer.hits[0].item_id == "new"
        assert REMOVED not in ids(client, "green kettle")
        assert len({hit.item_id for hit in answer.hits}) == len(answer.hits) == 10
        assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
        # What it leaves out is asked once for each version.
        assert asked == [features.SIGNATURE_DELTA, *[features.SIGNATURE_BY_VECTORS] * 2]

        # The next version has its own list: what had been removed is back.
        push_delta(folder, 2, {"new": "blue kettle"}, 3, [])
        wait_for_version(server, "souk_delta", 2)
        found = client.answer("green kettle")
        assert (found.hits[0].item_id, found.delta_version) == (REMOVED, 2)

        # A new full index is answered from alone, until a delta of its own comes.
        tiny_retriever.push(folder.parent / "souk", 4)
        wait_for_version(server, "souk", 4)
        found = client.answer("blue kettle")
        assert (found.model_version, found.delta_version) == (4, None)
        assert all(hit.item_id.startswith("v4-") for hit in found.hits)
        with Client(server.address, version=3) as pinned:
            assert pinned.answer("blue kettle").delta_version == 2

            shutil.rmtree(folder / "1")
            shutil.rmtree(folder / "2")
            wait_for(lambda: pinned.answer("blue kettle").delta_version is None, "the delta to be withdrawn")
    early.close()


def test_shards_are_merged_with_one_delta(tmp_path, start_server):
    (tmp_path / "souk").mkdir()
    for shard in range(2):
        (tmp_path / f"souk-shard-{shard}-of-2").mkdir()
        tiny_retriever.push(tmp_path / f"souk-shard-{shard}-of-2", 3, shard=(shard, 2))
    (tmp_path / "souk_delta").mkdir()
    push_delta(tmp_path / "souk_delta", 1, {"new": "blue kettle"}, 3, [CHANGED])
    server = start_server(tmp_path / "souk", shards=2)
    assert server.manager.wait_until_available(60)
    wait_for_version(server, "souk_delta", 1)
    with ShardedClient([server.address], shards=2) as client:
        answer = client.answer("blue kettle")
    assert (answer.hits[0].item_id, answer.delta_version, answer.missing_shards) == ("new", 1, ())
    assert CHANGED not in {hit.item_id for hit in answer.hits}

    # A delta that fails is an error, or what it leaves out is left out still.
    for partial in (False, True):
        with ShardedClient([server.address], shards=2, allow_partial=partial) as client:
            client.search("red")
            client._delta._server.close()
            client._delta._server = Client("127.0.0.1:1", model_name="souk_delta", with_delta=False)
            if partial:
                found = client.answer("blue kettle")
                assert found.delta_version is None
                assert not {CHANGED, "new"} & {hit.item_id for hit in found.hits}
            else:
                with pytest.raises(ServingError, match="No server answers"):
                    client.search("blue kettle")


def test_what_is_no_delta_index_is_an_error(tmp_path, start_server):
    for name in ("souk", "souk_delta"):
        (tmp_path / name).mkdir()
        tiny_retriever.push(tmp_path / name, 3)
    server = start_server(tmp_path / "souk")
    assert server.manager.wait_until_available(60)
    wait_for_version(server, "souk_delta", 3)
    with Client(server.address) as client, pytest.raises(ServingError, match="delta") as raised:
        client.search("red")
    assert raised.value.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)


def test_a_full_index_of_before_gives_no_vectors_and_asks_nothing():
    from souk_client.answers import Row, Rows

    rows = Rows([Row([b"a"], [1.0])], 3)
    # Without an address it could ask nobody.
    assert Delta(None).complete(rows, [b""], math.inf) is rows

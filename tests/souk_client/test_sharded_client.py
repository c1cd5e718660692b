"""Three servers, each with a third of the tiny retriever's catalog."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from schema.features import RelevanceControl
from schema.settings import InputError
from serving.config import ServingConfig
from serving.server.server import RunningServer, start
from souk_client.client import Client, ServingError, VersionStatus
from souk_client.protocol import shard_models
from souk_client.sharded_client import ShardedClient
from tests.serving import tiny_retriever
from tests.serving.waiting import wait_for
from tests.souk_client.test_client import HEAVY

SHARDS = 3


def eventually(condition) -> None:
    wait_for(condition, "the servers to follow")


@dataclass
class Cluster:
    """A server for each shard of the model; each serves its `versions` newest versions."""

    folder: Path
    versions: int = 2
    servers: list[RunningServer] = field(default_factory=list)

    def push(self, version: int, *shards: int) -> None:
        for shard in shards or range(SHARDS):
            base = self.folder / f"souk-shard-{shard}-of-{SHARDS}"
            base.mkdir(parents=True, exist_ok=True)
            tiny_retriever.push(base, version, shard=(shard, SHARDS))

    def withdraw(self, version: int, *shards: int) -> None:
        for shard in shards:
            shutil.rmtree(self.folder / f"souk-shard-{shard}-of-{SHARDS}" / str(version))

    def start(self) -> "Cluster":
        for name in shard_models("souk", SHARDS):
            config = ServingConfig(
                model_dir=str(self.folder / name),
                model_name=name,
                port=0,
                rest_port=-1,
                poll_interval_s=0.05,
                versions=self.versions,
            )
            self.servers.append(start(config))
        assert all(server.manager.wait_until_available(60) for server in self.servers)
        return self

    @property
    def targets(self) -> list[str]:
        return [server.address for server in self.servers]

    def serves(self, shard: int, *versions: int) -> bool:
        with Client(self.targets[shard], model_name=f"souk-shard-{shard}-of-{SHARDS}") as client:
            return {s.version for s in client.status() if s.state == "AVAILABLE"} == set(versions)

    def stop(self) -> None:
        for server in self.servers:
            server.stop(grace=1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Cluster]:
    """Version 3 in all shards, for tests that only ask."""
    cluster = Cluster(tmp_path_factory.mktemp("shards"))
    cluster.push(3)
    yield cluster.start()
    cluster.stop()


@pytest.fixture
def cluster(tmp_path) -> Iterator[Cluster]:
    """Version 3 in all shards, for tests that push and stop."""
    cluster = Cluster(tmp_path)
    cluster.push(3)
    yield cluster.start()
    cluster.stop()


@pytest.mark.parametrize("query", ["blue kettle", "crème 跑步鞋", "no such words", "red"])
@pytest.mark.parametrize("k", [None, 1, 7, 1000])
def test_the_answer_is_that_of_the_catalog_in_one_piece(shared, server, query, k):
    with Client(server.address) as whole, ShardedClient(shared.targets) as client:
        expected, answer = whole.answer(query, k=k), client.answer(query, k=k)
    assert [hit.rank for hit in answer.hits] == [hit.rank for hit in expected.hits]
    assert [hit.score for hit in answer.hits] == pytest.approx([hit.score for hit in expected.hits], rel=1e-5)
    assert (answer.places, answer.model_version, answer.missing_shards) == (expected.places, 3, ())
    # Items of equal score stand in any order in the whole catalog's answer, which may end between them.
    last = expected.hits[-1].score if expected.hits else 0.0
    surely = {hit.item_id for hit in expected.hits if hit.score > last + 1e-6}
    assert surely <= {hit.item_id for hit in answer.hits}


def test_an_answer_with_relevance_control_has_only_matches(shared):
    """Each shard leaves what scores more than half of its own best; all of them have applied it."""
    with ShardedClient(shared.targets) as client:
        plain, left = client.answer("blue kettle"), client.answer("blue kettle", relevance_control=True)
    assert (plain.relevance_control, left.relevance_control) == (RelevanceControl.OFF, RelevanceControl.APPLIED)
    assert left.hits[0] == plain.hits[0]


def test_one_server_may_have_all_shards(cluster, tmp_path):
    config = ServingConfig(model_dir=str(tmp_path / "souk"), port=0, poll_interval_s=0.05, shards=SHARDS)
    everything = start(config)
    try:
        assert everything.manager.wait_until_available(60)
        with ShardedClient([everything.address], shards=SHARDS) as client, ShardedClient(cluster.targets) as apart:
            assert client.answer("blue kettle") == apart.answer("blue kettle")
            cluster.push(4)
            # Both versions stay loaded, as shards must keep them.
            eventually(lambda: client.answer("red").model_version == 4)
        for name in shard_models("souk", SHARDS):
            with Client(everything.address, model_name=name) as client:
                eventually(lambda c=client: [s.version for s in c.status() if s.state == "AVAILABLE"] == [4, 3])
    finally:
        everything.stop(grace=1)


@pytest.mark.parametrize(("targets", "shards"), [([], None), (["a:1", "b:1"], 3), (["a:1"], 0)])
def test_servers_that_are_not_as_many_as_the_shards_are_refused(targets, shards):
    with pytest.raises(InputError, match=r"Give the address of each shard's server"):
        ShardedClient(targets, shards=shards)


@pytest.mark.parametrize("allow_partial", [False, True])
def test_an_empty_batch_is_refused_before_anything_is_sent(allow_partial):
    with ShardedClient(["localhost:1"] * 3, allow_partial=allow_partial) as client:
        for ask in (lambda: client.answer_examples([]), lambda: client.retrieve("query_text", "query", [])):
            with pytest.raises(InputError, match="no values to send"):
                ask()


def test_servers_in_a_wrong_order_are_refused_not_believed(shared):
    with ShardedClient(shared.targets[::-1]) as client, pytest.raises(ServingError) as raised:
        client.search("red")
    assert raised.value.code is grpc.StatusCode.NOT_FOUND
    assert "shard 0 of 3" in str(raised.value)


def test_a_wrong_request_is_refused_even_if_shards_may_be_gone(shared):
    with ShardedClient(shared.targets, allow_partial=True) as client, pytest.raises(ServingError) as raised:
        client.answer_examples([b"not an example"])
    assert raised.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_during_a_push_the_newest_version_that_all_have_answers(cluster):
    with ShardedClient(cluster.targets) as client:
        before = client.answer("blue kettle")
        cluster.push(4, 0, 2)
        eventually(lambda: cluster.serves(0, 3, 4) and cluster.serves(2, 3, 4))
        for _ in range(5):
            assert client.answer("blue kettle") == before
        cluster.push(4, 1)
        eventually(lambda: client.answer("blue kettle").model_version == 4)
        assert all(hit.item_id.startswith("v4-") for hit in client.answer("blue kettle").hits)


def test_an_agreed_version_that_is_withdrawn_fails_no_request(cluster):
    with ShardedClient(cluster.targets) as client:
        cluster.push(4, 0, 2)
        eventually(lambda: cluster.serves(0, 3, 4) and cluster.serves(2, 3, 4))
        assert client.answer("red").model_version == 3
        cluster.push(4, 1)
        cluster.withdraw(3, 0, 1, 2)
        eventually(lambda: all(cluster.serves(shard, 4) for shard in range(SHARDS)))
        assert client.answer("red").model_version == 4


def test_a_version_only_some_servers_have_fails_no_request(cluster, monkeypatch):
    """Behind one address there may be several servers: one tells of version 4, the one that is asked lacks it."""
    cluster.push(4, 0, 2)
    eventually(lambda: cluster.serves(0, 3, 4) and cluster.serves(2, 3, 4))
    told = [VersionStatus(number, "AVAILABLE", "") for number in (4, 3)]
    monkeypatch.setattr(Client, "status", lambda self, timeout_s=None: told)
    with ShardedClient(cluster.targets) as client:
        assert client.answer("red").model_version == 3


def test_no_answer_mixes_versions_while_versions_come_and_go(cluster):
    seen, stop, problems = set(), threading.Event(), []

    def ask() -> None:
        with ShardedClient(cluster.targets) as client:
            while not stop.is_set():
                try:
                    answer = client.answer("blue kettle")
                except ServingError as error:
                    problems.append(str(error))
                    return
                versions = {hit.item_id.split("-")[0] for hit in answer.hits}
                if versions != {f"v{answer.model_version}"} or len(answer.hits) != 10:
                    problems.append(str(answer))
                seen.add(answer.model_version)

    with futures.ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(ask)
        try:
            for shard in range(SHARDS):
                cluster.push(4, shard)
                eventually(lambda s=shard: cluster.serves(s, 3, 4))
            eventually(lambda: 4 in seen)
        finally:
            stop.set()
    assert problems == []
    assert seen == {3, 4}


def test_the_error_of_no_common_version_says_what_each_has(tmp_path):
    cluster = Cluster(tmp_path, versions=1)
    cluster.push(3)
    cluster.start()
    try:
        cluster.push(4, 1)
        eventually(lambda: cluster.serves(1, 4))
        with ShardedClient(cluster.targets) as client, pytest.raises(ServingError) as raised:
            client.answer("red")
        assert raised.value.code is grpc.StatusCode.FAILED_PRECONDITION
        assert "shard 0 has [3]; shard 1 has [4]; shard 2 has [3]" in str(raised.value)
        with ShardedClient(cluster.targets, allow_partial=True) as client:
            answer = client.answer("red")
        assert (answer.model_version, answer.missing_shards) == (3, (1,))
    finally:
        cluster.stop()


def test_a_dead_shard_is_an_error_or_said_to_be_missing(cluster):
    with ShardedClient(cluster.targets) as client, ShardedClient(cluster.targets, allow_partial=True) as lenient:
        whole = client.answer("blue kettle")
        assert lenient.answer("blue kettle") == whole
        cluster.servers[1].stop(grace=0)
        with pytest.raises(ServingError, match=r"^shard 1 of 3: No server answers at") as raised:
            client.search("blue kettle")
        assert raised.value.code is grpc.StatusCode.UNAVAILABLE
        partial = lenient.answer("blue kettle")
    assert partial.missing_shards == (1,)
    missing = {f"v3-{number}" for number in tiny_retriever.numbers_in(3, (1, SHARDS))}
    assert len(partial.hits) == 10
    assert missing & {hit.item_id for hit in whole.hits}
    assert not missing & {hit.item_id for hit in partial.hits}


def test_with_all_shards_dead_there_is_no_answer(cluster):
    for server in cluster.servers:
        server.stop(grace=0)
    with (
        ShardedClient(cluster.targets, allow_partial=True) as client,
        pytest.raises(ServingError, match="shard 0 of 3"),
    ):
        client.search("red")


class Silent(grpc.GenericRpcHandler):
    """Never answers; notes whether an earlier request was still waiting when one came."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.came: list[grpc.ServicerContext] = []
        self.together = False

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self._wait)

    def _wait(self, request, context):
        self.together |= any(earlier.is_active() for earlier in self.came)
        self.came.append(context)
        self.released.wait(30)
        return b""


@pytest.fixture
def silent() -> Iterator[tuple[str, Silent]]:
    handler = Silent()
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=(handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", handler
    handler.released.set()
    server.stop(None)


def test_all_shards_are_asked_at_once_under_one_deadline(shared, silent):
    address, handler = silent
    targets = [address, shared.targets[1], address]
    told = r"shard 0 of 3: .* did not answer within .* shard 2 of 3: "
    with ShardedClient(targets, timeout_s=0.5) as client, pytest.raises(ServingError, match=told) as raised:
        client.search("red")
    assert handler.together
    assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    with ShardedClient(targets, timeout_s=0.5, allow_partial=True) as client:
        assert client.answer("red").missing_shards == (0, 2)


def test_the_client_imports_nothing_heavy():
    code = f"import sys, souk_client.sharded_client; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

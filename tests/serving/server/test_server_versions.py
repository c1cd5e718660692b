"""A server whose versions come and go while it runs; `test_hot_swap.py` watches its memory in a process of its own."""

import shutil
import threading
from concurrent import futures

import grpc
import pytest

from serving.server import loader
from souk_client.client import Client, ServingError
from tests.serving import tiny_retriever
from tests.serving.waiting import wait_for


def states(server) -> dict[int, tuple[str, str]]:
    with Client(server.address) as client:
        try:
            return {status.version: (status.state, status.error) for status in client.status()}
        except ServingError as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                return {}
            raise


def answers_from(server) -> int:
    with Client(server.address) as client:
        return client.answer("red shoes").model_version


def test_a_swap_under_load_fails_no_request_and_mixes_no_answer(tmp_path, start_server):
    tiny_retriever.push(tmp_path, 1)
    server = start_server(tmp_path)
    assert server.manager.wait_until_available(60)
    done = threading.Event()

    def ask_all_the_time() -> list[int]:
        seen = []
        with Client(server.address, timeout_s=30) as client:
            while not done.is_set():
                answer = client.answer("red shoes", user_id="u1")
                assert {hit.item_id.split("-")[0] for hit in answer.hits} == {f"v{answer.model_version}"}
                seen.append(answer.model_version)
        return seen

    with futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask_all_the_time) for _ in range(4)]
        for version in (2, 3):
            tiny_retriever.push(tmp_path, version)
            wait_for(lambda version=version: answers_from(server) == version, f"version {version}")
        wait_for(lambda: states(server)[2][0] == "END", "the end of version 2")
        done.set()
        histories = [future.result() for future in asking]
    for seen in histories:
        assert seen == sorted(seen), "an older version answered after a newer one"
        assert set(seen) == {1, 2, 3}


def test_a_broken_version_is_reported_and_loaded_once_mended(tmp_path, start_server):
    tiny_retriever.push(tmp_path, 1)
    server = start_server(tmp_path)
    assert server.manager.wait_until_available(60)
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "saved_model.pb").write_bytes(b"\x12\xff\xff")
    wait_for(lambda: states(server).get(2, ("",))[0] == "END", "version 2 to be refused")
    assert states(server)[1] == ("AVAILABLE", "")
    assert "DecodeError" in states(server)[2][1]
    assert answers_from(server) == 1

    shutil.rmtree(tmp_path / "2")
    tiny_retriever.push(tmp_path, 2)
    wait_for(lambda: answers_from(server) == 2, "the mended version 2")


def test_a_version_that_fails_its_warm_up_is_not_served(tmp_path, start_server):
    broken = tiny_retriever.push(tmp_path, 1)
    tiny_retriever.write_warm_up(broken, "no such input", b"")
    server = start_server(tmp_path)
    wait_for(lambda: states(server).get(1, ("",))[0] == "END", "version 1 to be refused")
    assert "Sent extra: {no such input}" in states(server)[1][1]


def test_a_half_copied_version_is_waited_for(tmp_path, start_server):
    tiny_retriever.push(tmp_path, 1)
    complete = tiny_retriever.built(2)
    shutil.copytree(complete, tmp_path / "2", ignore=shutil.ignore_patterns("saved_model.pb"))
    server = start_server(tmp_path)
    wait_for(lambda: states(server) == {1: ("AVAILABLE", "")}, "version 1")
    assert answers_from(server) == 1
    shutil.copy(complete / "saved_model.pb", tmp_path / "2")
    wait_for(lambda: answers_from(server) == 2, "version 2")


def test_a_withdrawn_version_gives_way_to_the_one_before(tmp_path, start_server):
    for version in (1, 2):
        tiny_retriever.push(tmp_path, version)
    server = start_server(tmp_path)
    wait_for(lambda: states(server).get(2) == ("AVAILABLE", ""), "version 2")
    shutil.rmtree(tmp_path / "2")
    wait_for(lambda: answers_from(server) == 1, "version 1")
    shutil.rmtree(tmp_path / "1")
    wait_for(lambda: states(server) == {1: ("END", ""), 2: ("END", "")}, "the end of both")
    with pytest.raises(ServingError) as caught:
        answers_from(server)
    assert caught.value.code is grpc.StatusCode.NOT_FOUND


def test_requests_during_the_first_load_are_told_to_come_back(tmp_path, monkeypatch, start_server):
    go_on = threading.Event()
    load = loader.load
    monkeypatch.setattr(loader, "load", lambda path: go_on.wait(60) and load(path))
    tiny_retriever.push(tmp_path, 1)
    server = start_server(tmp_path)
    wait_for(lambda: states(server) == {1: ("LOADING", "")}, "the loading of version 1")
    with pytest.raises(ServingError, match="Try again in a moment") as caught:
        answers_from(server)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    go_on.set()
    wait_for(lambda: states(server) == {1: ("AVAILABLE", "")}, "version 1")
    assert answers_from(server) == 1


def test_an_empty_folder_is_watched_for_its_first_version(tmp_path, start_server):
    server = start_server(tmp_path)
    assert states(server) == {}
    tiny_retriever.push(tmp_path, 1)
    wait_for(lambda: states(server) == {1: ("AVAILABLE", "")}, "version 1")

import gc
import logging
import shutil
import threading
import weakref
from pathlib import Path

import pytest

from serving.server.manager import ModelManager, NotServedError, State, Status
from serving.server.versions import Latest


def push(base: Path, number: int, content: str) -> None:
    """A version whose "model" is the text in its saved_model.pb."""
    (base / str(number)).mkdir(exist_ok=True)
    unfinished = base / str(number) / "unfinished"
    unfinished.write_text(content)
    unfinished.rename(base / str(number) / "saved_model.pb")


def read(path: Path) -> str:
    content = (path / "saved_model.pb").read_text()
    if content.startswith("broken"):
        raise OSError(f"{path.name} is {content}")
    return content


@pytest.fixture
def manager(tmp_path) -> ModelManager[str]:
    return ModelManager("souk", tmp_path, read)


def served(manager: ModelManager[str], number: int | None = None) -> tuple[int, str]:
    with manager.use(number) as found:
        return found


def test_the_newest_version_is_served(manager, tmp_path):
    push(tmp_path, 9, "nine")
    push(tmp_path, 10, "ten")
    manager.reconcile()
    assert served(manager) == (10, "ten")
    assert manager.statuses() == {10: Status(State.AVAILABLE)}


def test_a_newer_version_replaces_the_older_one(manager, tmp_path):
    push(tmp_path, 1, "one")
    manager.reconcile()
    push(tmp_path, 2, "two")
    manager.reconcile()
    assert served(manager) == (2, "two")
    assert manager.statuses() == {1: Status(State.END), 2: Status(State.AVAILABLE)}


def test_two_versions_can_be_served_at_once(tmp_path):
    manager = ModelManager("souk", tmp_path, read, Latest(2))
    for number in (1, 2, 3):
        push(tmp_path, number, str(number))
    manager.reconcile()
    assert (served(manager, 2), served(manager, 3), served(manager)) == ((2, "2"), (3, "3"), (3, "3"))
    with pytest.raises(NotServedError, match=r"Specific\(souk, 1\)"):
        served(manager, 1)


def test_the_old_version_is_served_until_the_new_one_is_loaded(tmp_path):
    during: list[tuple[int, str]] = []

    def load(path: Path) -> str:
        if path.name == "2":
            during.append(served(manager))
        return read(path)

    manager = ModelManager("souk", tmp_path, load)
    push(tmp_path, 1, "one")
    manager.reconcile()
    push(tmp_path, 2, "two")
    manager.reconcile()
    assert during == [(1, "one")]


def test_a_withdrawn_version_lasts_until_its_requests_are_done(manager, tmp_path):
    push(tmp_path, 1, "one")
    manager.reconcile()
    with manager.use() as first, manager.use() as second:
        push(tmp_path, 2, "two")
        manager.reconcile()
        assert first == second == (1, "one")
        assert served(manager) == (2, "two")
        assert manager.statuses()[1] == Status(State.UNLOADING)
    assert manager.statuses()[1] == Status(State.END)


class Circular:
    """Is not freed until the garbage collector looks for circles."""

    def __init__(self) -> None:
        self.itself = self


def test_an_unloaded_versions_memory_is_freed_at_the_next_look(tmp_path):
    loaded: list[weakref.ref] = []

    def load(path: Path) -> Circular:
        model = Circular()
        loaded.append(weakref.ref(model))
        return model

    manager = ModelManager("souk", tmp_path, load)
    for number in (1, 2):
        push(tmp_path, number, "")
        manager.reconcile()
    manager.reconcile()
    assert [model() is None for model in loaded] == [True, False]


def test_a_model_let_go_after_that_look_is_freed_at_the_next(tmp_path):
    manager = ModelManager("souk", tmp_path, lambda path: Circular())
    push(tmp_path, 1, "")
    manager.reconcile()
    with manager.use() as (_, held):
        push(tmp_path, 2, "")
        manager.reconcile()
    gc.disable()
    try:
        manager.reconcile()
        model = weakref.ref(held)
        del held
        manager.reconcile()
        assert model() is None
    finally:
        gc.enable()


def test_a_broken_version_is_reported_and_the_old_one_stays(manager, tmp_path, caplog):
    push(tmp_path, 1, "one")
    manager.reconcile()
    push(tmp_path, 2, "broken")
    with caplog.at_level(logging.INFO, "souk.serve"):
        manager.reconcile()
        manager.reconcile()
    assert served(manager) == (1, "one")
    assert manager.statuses() == {1: Status(State.AVAILABLE), 2: Status(State.END, "OSError: 2 is broken")}
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "souk, version 2 cannot be served and is skipped: OSError: 2 is broken"
    ]


def test_the_version_before_a_broken_newest_one_is_served(manager, tmp_path):
    for number, content in ((1, "one"), (2, "two"), (3, "broken"), (4, "broken too")):
        push(tmp_path, number, content)
    manager.reconcile()
    assert served(manager) == (2, "two")
    assert [manager.statuses()[number].state for number in (2, 3, 4)] == [State.AVAILABLE, State.END, State.END]


def test_a_broken_version_that_is_written_anew_is_tried_again(manager, tmp_path):
    push(tmp_path, 1, "broken")
    manager.reconcile()
    push(tmp_path, 1, "one, mended")
    manager.reconcile()
    assert served(manager) == (1, "one, mended")
    assert manager.statuses() == {1: Status(State.AVAILABLE)}


def test_a_half_copied_version_is_waited_for(manager, tmp_path, caplog):
    push(tmp_path, 1, "one")
    (tmp_path / "2").mkdir()
    with caplog.at_level(logging.INFO, "souk.serve"):
        manager.reconcile()
        manager.reconcile()
    assert served(manager) == (1, "one")
    assert manager.statuses() == {1: Status(State.AVAILABLE)}
    assert sum("waiting for its copy to end" in record.message for record in caplog.records) == 1
    push(tmp_path, 2, "two")
    manager.reconcile()
    assert served(manager) == (2, "two")


def test_a_withdrawn_version_gives_way_to_the_one_before_it(manager, tmp_path):
    push(tmp_path, 1, "one")
    push(tmp_path, 2, "two")
    manager.reconcile()
    shutil.rmtree(tmp_path / "2")
    manager.reconcile()
    assert served(manager) == (1, "one")
    assert manager.statuses() == {1: Status(State.AVAILABLE), 2: Status(State.END)}


def test_a_version_that_comes_back_is_loaded_again(manager, tmp_path):
    push(tmp_path, 1, "one")
    manager.reconcile()
    shutil.rmtree(tmp_path / "1")
    manager.reconcile()
    push(tmp_path, 1, "one again")
    manager.reconcile()
    assert served(manager) == (1, "one again")


def test_where_every_version_is_withdrawn_nothing_is_served(manager, tmp_path):
    push(tmp_path, 1, "one")
    manager.reconcile()
    shutil.rmtree(tmp_path / "1")
    manager.reconcile()
    with pytest.raises(NotServedError) as caught:
        served(manager)
    assert not caught.value.loading


def test_a_folder_that_cannot_be_read_changes_nothing(manager, tmp_path, caplog):
    push(tmp_path, 1, "one")
    manager.reconcile()
    tmp_path.rename(tmp_path.with_name("gone"))
    with caplog.at_level(logging.WARNING, "souk.serve"):
        manager.reconcile()
        manager.reconcile()
    assert served(manager) == (1, "one")
    assert sum("keeping what is served" in record.message for record in caplog.records) == 1


def test_before_the_first_look_a_request_is_told_to_wait(manager):
    with pytest.raises(NotServedError) as caught:
        served(manager)
    assert caught.value.loading


def test_a_version_still_loading_is_told_from_a_missing_one(tmp_path):
    loading, go_on = threading.Event(), threading.Event()

    def load(path: Path) -> str:
        loading.set()
        assert go_on.wait(30)
        return read(path)

    manager = ModelManager("souk", tmp_path, load)
    manager.reconcile()
    push(tmp_path, 1, "one")
    thread = threading.Thread(target=manager.reconcile)
    thread.start()
    assert loading.wait(30)
    for number, expected in ((1, True), (None, True), (2, False)):
        with pytest.raises(NotServedError) as caught:
            served(manager, number)
        assert caught.value.loading is expected
    assert manager.statuses() == {1: Status(State.LOADING)}
    go_on.set()
    thread.join()
    assert served(manager) == (1, "one")


def test_the_watching_thread_serves_what_appears_later(manager, tmp_path):
    manager.start(interval=0.01)
    push(tmp_path, 1, "one")
    assert manager.wait_until_available(30)
    assert served(manager) == (1, "one")
    manager.stop(timeout=30)


def test_only_the_last_hundred_ended_versions_are_remembered(manager, tmp_path):
    for number in range(120):
        push(tmp_path, number, "broken")
    manager.reconcile()
    manager.reconcile()
    assert sorted(manager.statuses()) == list(range(20, 120))

import gc
import threading
import weakref
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import model_pb2

from serving.server.config_file import ConfigFileWatcher
from serving.server.errors import RequestError
from serving.server.manager import State, Status
from serving.server.model_config import ModelSettings
from serving.server.registry import ModelRegistry
from serving.server.versions import All, Latest, Specific
from tests.serving.waiting import wait_for

BOTH = {1: Status(State.AVAILABLE), 2: Status(State.AVAILABLE)}


def push(base: Path, number: int, content: str) -> None:
    """A version whose "model" is the text in its saved_model.pb."""
    (base / str(number)).mkdir(parents=True)
    (base / str(number) / "unfinished").write_text(content)
    (base / str(number) / "unfinished").rename(base / str(number) / "saved_model.pb")


def read(path: Path) -> str:
    content = (path / "saved_model.pb").read_text()
    if content == "broken":
        raise OSError("it is broken")
    return content


@pytest.fixture
def registry():
    made = ModelRegistry(read, interval=0.02)
    yield made
    made.stop(1)


@pytest.fixture
def folders(tmp_path):
    for number in (1, 2):
        push(tmp_path / "shop", number, f"shop {number}")
        push(tmp_path / "fair", number, f"fair {number}")
    push(tmp_path / "ruin", 1, "broken")
    (tmp_path / "void").mkdir()
    return tmp_path


def model(folders: Path, name: str, *, base: str = "", policy=Latest(), labels=None) -> ModelSettings:  # noqa: B008
    return ModelSettings(name, folders / (base or name), policy, labels or {})


def answer(registry, name: str, **choice) -> str:
    with registry.use(spec(name, **choice)) as used:
        assert used.name == name
        return used.model


def spec(name: str, version: int | None = None, label: str | None = None) -> model_pb2.ModelSpec:
    made = model_pb2.ModelSpec(name=name)
    if version is not None:
        made.version.value = version
    if label is not None:
        made.version_label = label
    return made


def statuses(registry, name: str) -> dict[int, Status]:
    try:
        return registry.statuses(spec(name))
    except RequestError:
        return {}


def refusal(call, *arguments, **choice) -> tuple[str, str]:
    with pytest.raises(RequestError) as caught:
        call(*arguments, **choice)
    return caught.value.code.name, caught.value.message


def test_each_model_answers_by_its_own_policy(registry, folders):
    registry.start(
        (
            model(folders, "shop", policy=All()),
            model(folders, "fair", policy=Specific(frozenset({1, 9}))),
            model(folders, "twin", base="fair"),
        )
    )
    assert registry.wait_until_available(10)
    wait_for(lambda: statuses(registry, "shop") == BOTH, "both versions")
    assert [answer(registry, "shop", version=number) for number in (1, 2)] == ["shop 1", "shop 2"]
    assert answer(registry, "fair") == "fair 1"
    assert answer(registry, "twin") == "fair 2"
    assert refusal(answer, registry, "fair", version=2) == (
        "NOT_FOUND",
        "Servable not found for request: Specific(fair, 2)",
    )


def test_a_label_leads_to_its_version(registry, folders):
    registry.start((model(folders, "shop", policy=All(), labels={"stable": 1, "canary": 2, "lost": 7}),))
    wait_for(lambda: statuses(registry, "shop") == BOTH, "both versions")
    assert (answer(registry, "shop", label="stable"), answer(registry, "shop", label="canary")) == ("shop 1", "shop 2")
    assert registry.statuses(spec("shop", label="stable")) == BOTH
    assert refusal(answer, registry, "shop", label="beta") == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: beta",
    )
    assert refusal(answer, registry, "bazaar", label="stable")[0] == "INVALID_ARGUMENT"
    assert refusal(answer, registry, "shop", label="lost") == (
        "NOT_FOUND",
        "Servable not found for request: Specific(shop, 7)",
    )


def test_a_spec_without_a_name_is_refused(registry):
    assert refusal(answer, registry, "") == ("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    assert refusal(registry.statuses, spec("")) == ("NOT_FOUND", "Could not find any versions of model ")


def test_a_reload_adds_removes_and_changes_models(registry, folders):
    registry.start((model(folders, "shop"), model(folders, "fair")))
    assert registry.wait_until_available(10)
    with registry.use(spec("fair")) as in_flight:
        registry.reload((model(folders, "shop", policy=All()), model(folders, "market", base="fair")))
        assert in_flight.model == "fair 2"
    assert answer(registry, "market") == "fair 2"
    assert refusal(answer, registry, "fair") == ("NOT_FOUND", "Servable not found for request: Latest(fair)")
    wait_for(lambda: statuses(registry, "shop") == BOTH, "both versions")
    assert answer(registry, "shop", version=1) == "shop 1"


def test_a_model_that_moves_to_another_folder_always_answers(registry, folders):
    registry.start((model(folders, "shop"),))
    assert registry.wait_until_available(10)
    seen, done = set(), threading.Event()

    def ask():
        while not done.is_set():
            seen.add(answer(registry, "shop"))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for base in ("fair", "shop") * 3:
            registry.reload((model(folders, "shop", base=base),))
    finally:
        done.set()
        thread.join()
    assert seen <= {"shop 2", "fair 2"}
    assert answer(registry, "shop") == "shop 2"


@pytest.mark.parametrize(
    ("changed", "code", "message"),
    [
        (
            lambda folders: model(folders, "shop", labels={"old": 1}),
            "FAILED_PRECONDITION",
            "Request to assign label to version 1 of model shop, which is not currently available for inference",
        ),
        (lambda folders: model(folders, "ruin"), "UNKNOWN", "version 1: OSError: it is broken"),
        (lambda folders: model(folders, "void"), "UNKNOWN", "no version in"),
    ],
)
def test_a_reload_that_cannot_be_served_changes_nothing(registry, folders, changed, code, message):
    registry.start((model(folders, "shop", labels={"old": 2}), model(folders, "fair")))
    assert registry.wait_until_available(10)
    got, told = refusal(registry.reload, (changed(folders), model(folders, "extra", base="fair")))
    assert (got, message in told) == (code, True), told
    assert set(registry.names()) == {"shop", "fair"}
    assert (answer(registry, "shop", label="old"), answer(registry, "fair")) == ("shop 2", "fair 2")


class Knotted:
    """A model that refers to itself, as those of TensorFlow do."""

    def __init__(self, path: Path) -> None:
        self.path, self.itself = path, self


def test_a_removed_model_leaves_memory_after_its_last_request(folders):
    registry = ModelRegistry(Knotted, interval=0.02)
    registry.start((model(folders, "shop"), model(folders, "fair")))
    assert registry.wait_until_available(10)
    with registry.use(spec("shop")) as used:
        loaded = weakref.ref(used.model)
        registry.reload((model(folders, "fair"),))
        gc.collect()
        assert loaded() is not None
    del used
    wait_for(lambda: loaded() is None, "the model to leave memory")
    registry.stop(1)


def test_a_reload_takes_no_longer_than_its_deadline(folders):
    go_on = threading.Event()
    slow = ModelRegistry(lambda path: go_on.wait(30) and read(path), interval=0.02)
    slow.start(())
    try:
        code, told = refusal(slow.reload, (model(folders, "shop"),), timeout=0.05)
        assert (code, "shop has not loaded within 0.05 s" in told) == ("DEADLINE_EXCEEDED", True)
        assert not slow.names()
    finally:
        go_on.set()
        slow.stop(1)


def test_labels_can_be_moved_without_a_load(registry, folders):
    registry.start((model(folders, "shop", policy=All(), labels={"stable": 1}),))
    wait_for(lambda: statuses(registry, "shop") == BOTH, "both versions")
    registry.reload((model(folders, "shop", policy=All(), labels={"stable": 2}),))
    assert answer(registry, "shop", label="stable") == "shop 2"


def test_a_new_label_may_come_before_its_version(registry, folders):
    registry.start((model(folders, "shop", labels={"stable": 2}),))
    assert registry.wait_until_available(10)
    for _ in range(2):
        registry.reload((model(folders, "shop", policy=All(), labels={"stable": 2, "canary": 3}),))
        assert refusal(answer, registry, "shop", label="canary")[0] in {"NOT_FOUND", "UNAVAILABLE"}
    push(folders / "shop", 3, "shop 3")
    wait_for(lambda: 3 in statuses(registry, "shop") and answer(registry, "shop") == "shop 3", "version 3")
    assert answer(registry, "shop", label="canary") == "shop 3"


def text(folders: Path, *names: str) -> str:
    entries = (f'config {{ name: "{n}" base_path: "{folders / n}" model_platform: "tensorflow" }}' for n in names)
    return "model_config_list { " + " ".join(entries) + " }"


def test_a_config_change_is_followed_and_a_wrong_one_told_once(registry, folders, caplog):
    path = folders / "models.config"
    path.write_text(text(folders, "shop"))
    watcher = ConfigFileWatcher(path, 0.02, registry)
    registry.start((model(folders, "shop"),))
    path.write_text(text(folders, "shop", "fair"))
    watcher.look()
    assert answer(registry, "fair") == "fair 2"
    path.write_text("models:")
    for _ in range(3):
        watcher.look()
    assert set(registry.names()) == {"shop", "fair"}
    assert [record.message for record in caplog.records if "is not applied" in record.message] != []
    assert len([record for record in caplog.records if "is not applied" in record.message]) == 1
    path.write_text(text(folders, "fair"))
    watcher.start()
    wait_for(lambda: set(registry.names()) == {"fair"}, "the new list")
    watcher.stop()
    assert grpc.StatusCode.NOT_FOUND.name == refusal(answer, registry, "shop")[0]

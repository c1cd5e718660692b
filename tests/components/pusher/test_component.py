import json

import pytest
from tfx.components.pusher import executor as stock_executor
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

from components.pusher import component, shards, summary
from components.run_summary.summary import RunSummary


@pytest.fixture
def push(tmp_path):
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "model")
    files = {"saved_model.pb": "graph", "variables/data": "weights", "assets.extra/souk.json": "{}"}
    for name, content in files.items():
        path = tmp_path / "model" / "Format-Serving" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def run(blessed=True, destination=None, custom_config="null"):
        blessing = standard_artifacts.ModelBlessing()
        blessing.uri = str(tmp_path / "blessing")
        blessing.set_int_custom_property("blessed", int(blessed))
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / "pushed")
        as_proto = pusher_pb2.PushDestination()
        as_proto.filesystem.base_directory = str(tmp_path / "serving")
        component.Executor().Do(
            {"model": [model], "model_blessing": [blessing]},
            {"pushed_model": [pushed]},
            {"push_destination": destination or proto_utils.proto_to_json(as_proto), "custom_config": custom_config},
        )
        return pushed

    return run


def versions(tmp_path):
    return sorted(path.name for path in (tmp_path / "serving").iterdir())


def test_a_blessed_model_becomes_one_whole_version(push, tmp_path):
    pushed = push()
    version = pushed.get_string_custom_property("pushed_version")
    assert versions(tmp_path) == [version]
    folder = tmp_path / "serving" / version
    assert pushed.get_string_custom_property("pushed_destination") == str(folder)
    assert pushed.get_int_custom_property("pushed") == 1
    assert (folder / "saved_model.pb").read_text() == "graph"
    assert (folder / "variables/data").read_text() == "weights"
    assert (folder / "assets.extra/souk.json").read_text() == "{}"


def test_the_destination_may_be_a_path_as_a_run_on_a_cluster_is_given_it(push, tmp_path):
    pushed = push(destination=str(tmp_path / "serving"))
    assert versions(tmp_path) == [pushed.get_string_custom_property("pushed_version")]


def test_an_unblessed_model_is_not_pushed(push, tmp_path):
    pushed = push(blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "serving").exists()


@pytest.mark.parametrize(("blessed", "result", "code"), [(True, "pushed", 0), (False, "refused", 3)])
def test_where_it_is_asked_for_the_run_gets_a_summary(push, tmp_path, blessed, result, code):
    given = summary.settings("shop", str(tmp_path / "summaries"))
    pushed = push(blessed, custom_config=json.dumps(given))
    [path] = (tmp_path / "summaries").iterdir()
    found = RunSummary.from_json(path.read_text())
    assert blessed or found.note == "refused by the recall gate"
    assert (found.pipeline, found.result, found.exit_code, found.gate.blessed) == ("shop", result, code, blessed)
    assert found.push.version == (pushed.get_string_custom_property("pushed_version") or "")
    # What the artifacts do not tell of.
    assert (found.data, found.schema, found.canary, found.steps) == (None, None, None, ())


def test_properties_are_read_as_a_cluster_hands_them_on(tmp_path):
    """Those of earlier steps come as JSON, where every number is a float; the push itself has its own."""
    pushed, servable = standard_artifacts.PushedModel(), standard_artifacts.Model()
    blessing, canary = standard_artifacts.ModelBlessing(), standard_artifacts.InfraBlessing()
    pushed.uri = "gs://shop/souk/artifacts/shop/0f9a-77/Pusher/pushed_model"
    pushed.set_int_custom_property("pushed", 1)
    pushed.set_string_custom_property("pushed_version", "7")
    for artifact, name, value in (
        (servable, "index", "tree"),
        (servable, "indexed_items", 600.0),
        (blessing, "blessed", 1.0),
        (blessing, "blessing_message", "one.\ntwo."),
        (blessing, "baseline_model", "gs://shop/souk/earlier"),
        (canary, "blessed", 0.0),
    ):
        artifact.set_json_value_custom_property(name, value)
    summary.write_summary(json.dumps(summary.settings("shop", str(tmp_path))), pushed, [servable], [blessing], [canary])
    found = RunSummary.from_json((tmp_path / "0f9a-77.json").read_text())
    assert (found.push.version, found.index.kind, found.index.indexed_items) == ("7", "tree", 600)
    assert (found.gate.blessed, found.gate.reasons) == (True, ("one.", "two."))
    assert (found.gate.baseline.uri, found.canary.passed) == ("gs://shop/souk/earlier", False)


def test_a_summary_that_cannot_be_written_fails_no_push(push, tmp_path, caplog):
    (tmp_path / "summaries").write_text("a file")
    pushed = push(custom_config=json.dumps(summary.settings("shop", str(tmp_path / "summaries"))))
    assert versions(tmp_path) == [pushed.get_string_custom_property("pushed_version")]
    assert "the summary of the run could not be written" in caplog.text


@pytest.mark.parametrize(
    ("uri", "run_id"),
    [
        ("gs://shop/souk/artifacts/shop/0f9a-77/Pusher/pushed_model", "0f9a-77"),
        ("gs://shop/souk/artifacts/shop/0f9a-77/pusher/5c2d/pushed_model", "0f9a-77"),
        ("gs://shop/souk/artifacts/4711/shop-20260301020000/Pusher_-813/pushed_model", "shop-20260301020000"),
        ("gs://shop/elsewhere", "gs-shop-elsewhere"),
    ],
)
def test_a_run_has_the_name_that_its_backend_gave_it(uri, run_id):
    assert summary.run_id_of(uri) == run_id


def test_a_push_killed_half_way_leaves_no_version_and_the_next_one_clears_up(push, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def copy_a_part(source, destination, **_):
        io_utils.write_string_file(f"{destination}/variables/data", "wei")
        raise Killed

    with monkeypatch.context() as context:
        context.setattr(stock_executor.io_utils, "copy_dir", copy_a_part)
        with pytest.raises(Killed):
            push()
    assert shards.newest_version(str(tmp_path / "serving")) == 0
    assert versions(tmp_path) == [component.STAGING]

    version = push().get_string_custom_property("pushed_version")
    assert versions(tmp_path) == [version]
    assert (tmp_path / "serving" / version / "variables/data").read_text() == "weights"


def test_a_new_version_is_always_the_newest_even_when_the_clock_went_back(push, tmp_path):
    (tmp_path / "serving" / "9999999999").mkdir(parents=True)
    assert push().get_string_custom_property("pushed_version") == "10000000000"
    assert push().get_string_custom_property("pushed_version") == "10000000001"

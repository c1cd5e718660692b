import json

import pytest
from tfx.types import standard_artifacts

from pipeline.runs import cluster_summary as summary
from pipeline.runs.outcome import RunOutcome
from tests.components.pusher.conftest import push

__all__ = ["push"]


@pytest.mark.parametrize(("blessed", "result", "code"), [(True, "pushed", 0), (False, "refused", 3)])
def test_where_it_is_asked_for_the_run_gets_a_summary(push, tmp_path, blessed, result, code):
    given = summary.settings("shop", str(tmp_path / "summaries"))
    pushed = push(blessed, custom_config=json.dumps(given), executor=summary.Executor)
    [path] = (tmp_path / "summaries").iterdir()
    found = RunOutcome.from_json(path.read_text())
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
    found = RunOutcome.from_json((tmp_path / "0f9a-77.json").read_text())
    assert (found.push.version, found.index.kind, found.index.indexed_items) == ("7", "tree", 600)
    assert (found.gate.blessed, found.gate.reasons) == (True, ("one.", "two."))
    assert (found.gate.baseline.uri, found.canary.passed) == ("gs://shop/souk/earlier", False)


def test_a_summary_that_cannot_be_written_fails_no_push(push, tmp_path, caplog):
    (tmp_path / "summaries").write_text("a file")
    pushed = push(
        custom_config=json.dumps(summary.settings("shop", str(tmp_path / "summaries"))), executor=summary.Executor
    )
    [version] = (tmp_path / "serving").iterdir()
    assert version.name == pushed.get_string_custom_property("pushed_version")
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

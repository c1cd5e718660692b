"""The gate as a node of a real pipeline: Importer nodes, ML Metadata in SQLite, TFX's own resolver and runner."""

import itertools
import json
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common.importer import Importer
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import metadata
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import Channel, standard_artifacts

from components.example_gen.ingest import local_pipeline
from components.recall_gate.component import RecallGate
from components.recall_gate.config import GateConfig
from evaluation import ledger
from evaluation.results import Evaluation
from schema import lineage
from schema.settings import InputError

CONFIG = GateConfig(ks=(5, 20), primary_k=20, bootstrap_samples=100, latency_requests=5, index_recall_requests=50)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, examples_dir, servables):
    """A good servable, then a weaker one beside it, in two runs of one pipeline. Gives the metadata's connection."""
    folder = tmp_path_factory.mktemp("pipeline")
    connection = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    for name in ("good", "weaker"):
        model = folder / name
        model.mkdir()
        (model / "Format-Serving").symlink_to(servables[name])
        servable = Importer(source_uri=str(model), artifact_type=standard_artifacts.Model).with_id("servable")
        examples = Importer(
            source_uri=str(examples_dir),
            artifact_type=standard_artifacts.Examples,
            properties={"split_names": json.dumps(["train", "eval", "catalog"])},
        ).with_id("examples")
        blessed = Resolver(
            strategy_class=LatestBlessedModelStrategy,
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        ).with_id("blessed")
        gate = RecallGate(
            servable=servable.outputs["result"],
            examples=examples.outputs["result"],
            baseline_servable=blessed.outputs["model"],
            config_json=CONFIG.to_json(),
        )
        BeamDagRunner().run(
            Pipeline(
                pipeline_name="gate",
                pipeline_root=str(folder / "artifacts"),
                components=[servable, examples, blessed, gate],
                enable_cache=False,
                beam_pipeline_args=["--runner=FnApiRunner"],
                metadata_connection_config=connection,
            )
        )
    return connection


def artifacts_of(store, type_name):
    return sorted(store.get_artifacts_by_type(type_name), key=lambda artifact: artifact.id)


def test_both_runs_finish_whatever_the_verdict(runs):
    with metadata.Metadata(runs) as handle:
        executions = handle.store.get_executions_by_type("components.recall_gate.component.RecallGate")
        assert len(executions) == 2
        complete = metadata_store_pb2.Execution.COMPLETE
        assert {execution.last_known_state for execution in executions} == {complete}


def test_the_blessing_is_what_tfx_readers_expect(runs):
    with metadata.Metadata(runs) as handle:
        good, weaker = artifacts_of(handle.store, "Model")
        first, second = artifacts_of(handle.store, "ModelBlessing")
    assert (Path(first.uri) / "BLESSED").exists()
    assert (Path(second.uri) / "NOT_BLESSED").exists()
    properties = [dict(blessing.custom_properties.items()) for blessing in (first, second)]
    assert [one["blessed"].int_value for one in properties] == [1, 0]
    assert [one["current_model_id"].int_value for one in properties] == [good.id, weaker.id]
    assert [one["current_model"].string_value for one in properties] == [good.uri, weaker.uri]
    assert "baseline_model_id" not in properties[0]
    assert properties[1]["baseline_model_id"].int_value == good.id
    assert properties[1]["baseline_model"].string_value == good.uri
    assert "against the blessed servable" in properties[1]["blessing_message"].string_value


def test_the_strategy_finds_the_blessed_not_a_later_refused_one(runs):
    with metadata.Metadata(runs) as handle:
        good, weaker = artifacts_of(handle.store, "Model")
        assert weaker.id > good.id
        inputs = {}
        for name, kind in (("model", standard_artifacts.Model), ("model_blessing", standard_artifacts.ModelBlessing)):
            inputs[name] = []
            for stored in artifacts_of(handle.store, kind.TYPE_NAME):
                artifact = kind()
                artifact.set_mlmd_artifact(stored)
                inputs[name].append(artifact)
        found = LatestBlessedModelStrategy().resolve_artifacts(handle.store, inputs)
    assert [artifact.id for artifact in found["model"]] == [good.id]


def test_the_evaluation_artifact_holds_evaluation_and_report(runs):
    with metadata.Metadata(runs) as handle:
        first, second = artifacts_of(handle.store, "ModelEvaluation")
    evaluations = [Evaluation.from_json((Path(one.uri) / "evaluation.json").read_text()) for one in (first, second)]
    assert [one.verdict.blessed for one in evaluations] == [True, False]
    assert evaluations[0].baseline == ""
    assert evaluations[1].baseline == evaluations[0].servable
    for stored, evaluation in zip((first, second), evaluations, strict=True):
        recall = evaluation.system("candidate").metrics["recall@20"].value
        assert stored.custom_properties["recall@20"].double_value == pytest.approx(recall)
        assert sorted(path.name for path in Path(stored.uri).iterdir()) == ["evaluation.json", "report.html"]
        report = (Path(stored.uri) / "report.html").read_text()
        assert ("✓ Blessed" if evaluation.verdict.blessed else "✕ Refused") in report


def test_the_ledger_gives_the_baseline_and_gets_what_is_blessed(tmp_path, examples_dir, servables):
    def judge(name, overrides=""):
        servable, examples = standard_artifacts.Model(), standard_artifacts.Examples()
        servable.uri, examples.uri = str(tmp_path / name), str(examples_dir)
        Path(servable.uri).mkdir(exist_ok=True)
        if not (tmp_path / name / "Format-Serving").exists():
            (tmp_path / name / "Format-Serving").symlink_to(servables[name])
        blessing, evaluation = standard_artifacts.ModelBlessing(), standard_artifacts.ModelEvaluation()
        blessing.uri, evaluation.uri = str(tmp_path / "blessing"), str(tmp_path / "evaluation")
        RecallGate.test_call(
            servable=servable,
            examples=examples,
            blessing=blessing,
            evaluation=evaluation,
            config_json=CONFIG.to_json(),
            overrides=overrides,
            ledger=str(tmp_path / "ledger"),
            beam_pipeline=local_pipeline(()),
        )
        baseline = Path(blessing.get_string_custom_property("baseline_model")).name
        return blessing.get_int_custom_property("blessed"), baseline

    def recorded():
        found = ledger.latest(str(tmp_path / "ledger"), ledger.SERVABLES, standard_artifacts.Model)
        return found and Path(found.uri).name

    assert judge("good", "min_recall=1.0") == (0, "")
    assert recorded() is None
    assert judge("good") == (1, "")
    # Its step may be tried again after it has recorded its servable.
    assert judge("good") == (1, "")
    assert judge("weaker") == (0, "good")
    assert recorded() == "good"
    assert judge("weaker", "max_relative_drop=1.0 must_beat=[]") == (1, "good")
    assert recorded() == "weaker"


def test_a_refresh_finds_its_requests_and_yields_to_a_new_model(tmp_path, examples_dir, servables, monkeypatch):
    # Entries of one millisecond have no order.
    ticks = itertools.count(1_700_000_000_000_000_000, 1_000_000)
    monkeypatch.setattr(ledger.time, "time_ns", lambda: next(ticks))

    def servable(name, trained_model):
        made, model, examples = standard_artifacts.Model(), standard_artifacts.Model(), standard_artifacts.Examples()
        made.uri, model.uri, examples.uri = str(tmp_path / name), trained_model, str(examples_dir)
        Path(made.uri).mkdir(exist_ok=True)
        (tmp_path / name / "Format-Serving").symlink_to(servables["good"])
        lineage.describe(made, model, examples, str(examples_dir))
        return made

    def judge(candidate):
        catalog = standard_artifacts.Examples()
        catalog.uri = str(examples_dir)
        blessing, evaluation = standard_artifacts.ModelBlessing(), standard_artifacts.ModelEvaluation()
        blessing.uri, evaluation.uri = str(tmp_path / "blessing"), str(tmp_path / "evaluation")
        RecallGate.test_call(
            servable=candidate,
            catalog=catalog,
            blessing=blessing,
            evaluation=evaluation,
            config_json=CONFIG.to_json(),
            ledger=str(tmp_path / "ledger"),
            beam_pipeline=local_pipeline(()),
        )
        return blessing.get_int_custom_property("blessed"), blessing.get_string_custom_property("blessing_message")

    blessed, message = judge(servable("refreshed", "monday"))
    assert (blessed, "newer model" in message) == (1, False)
    ledger.record(str(tmp_path / "ledger"), ledger.SERVABLES, servable("nightly", "tuesday"))
    blessed, message = judge(servable("refreshed again", "monday"))
    assert blessed == 0
    assert message.startswith("A newer model was blessed while this catalog was indexed")


def test_bad_settings_are_named_before_anything_is_read():
    nothing = dict.fromkeys(("servable", "blessing", "evaluation"))
    with pytest.raises(InputError, match="min_recal"):
        RecallGate.test_call(config_json='{"min_recal": 0.1}', **nothing)

"""The canary as a step between two stock ones: what it blesses is pushed, what it refuses is not."""

import json
from pathlib import Path

import pytest
from tfx.components.pusher.component import Pusher
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts

from components.canary.component import Canary
from components.canary.config import CanaryConfig

FLAWS = ("none", "nan_scores")


@pytest.fixture(scope="module")
def run(examples_uri, candidate, tmp_path_factory) -> Path:
    """Root of one pipeline run over a good and a bad candidate."""
    root = tmp_path_factory.mktemp("run")
    examples = Importer(source_uri=examples_uri, artifact_type=standard_artifacts.Examples).with_id("Examples")
    steps = [examples]
    config = CanaryConfig(requests=8, batch_size=4, p99_limit_ms=None)
    for flaw in FLAWS:
        model = root / f"model-{flaw}"
        model.mkdir()
        (model / "Format-Serving").symlink_to(candidate(flaw))
        servable = Importer(source_uri=str(model), artifact_type=standard_artifacts.Model).with_id(f"Servable-{flaw}")
        canary = Canary(
            servable=servable.outputs["result"],
            examples=examples.outputs["result"],
            config_json=config.to_json(),
        ).with_id(f"Canary-{flaw}")
        pusher = Pusher(
            model=servable.outputs["result"],
            infra_blessing=canary.outputs["blessing"],
            push_destination=pusher_pb2.PushDestination(
                filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(root / f"pushed-{flaw}"))
            ),
        ).with_id(f"Pusher-{flaw}")
        steps += [servable, canary, pusher]
    BeamDagRunner().run(
        Pipeline(
            pipeline_name="canary",
            pipeline_root=str(root / "artifacts"),
            components=steps,
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.db")),
        )
    )
    return root


def blessing(run: Path, flaw: str) -> Path:
    (folder,) = (run / "artifacts" / f"Canary-{flaw}" / "blessing").iterdir()
    return folder


def test_a_good_servable_is_blessed_and_pushed(run):
    assert (blessing(run, "none") / "INFRA_BLESSED").exists()
    assert json.loads((blessing(run, "none") / "canary.json").read_text())["blessed"] is True
    (version,) = (run / "pushed-none").iterdir()
    assert (version / "saved_model.pb").exists()


def test_a_flawed_servable_is_not_pushed_and_the_run_goes_on(run):
    assert (blessing(run, "nan_scores") / "INFRA_NOT_BLESSED").exists()
    result = json.loads((blessing(run, "nan_scores") / "canary.json").read_text())
    assert result["failures"][0].startswith("a score is not a finite number")
    assert "version 1: available" in result["server_log"]
    assert not (run / "pushed-nan_scores").exists()


def test_the_blessing_sets_the_property_that_the_pusher_reads(run):
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(run / "metadata.db"))) as store:
        artifacts = store.store.get_artifacts_by_type(standard_artifacts.InfraBlessing.TYPE_NAME)
    blessed = {Path(artifact.uri): artifact.custom_properties["blessed"].int_value for artifact in artifacts}
    assert blessed == {blessing(run, "none"): 1, blessing(run, "nan_scores"): 0}

"""Ingestion as a node of a real pipeline, with ML Metadata and its cache."""

import json

import pytest
from tfx.orchestration import metadata
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import artifact_utils

from components.example_gen.component import SoukExampleGen
from components.example_gen.fingerprint import fingerprint
from tests.components.example_gen import written
from tests.components.example_gen.small_shop import make_shop, souk_rows, write_jsonl, write_shop


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three runs: the second changes nothing, before the third a row is added to the log. Gives the artifacts."""
    folder = tmp_path_factory.mktemp("pipeline")
    connection = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    shop = make_shop(60)
    config = write_shop(folder / "in", shop)
    for run in range(3):
        if run == 2:
            write_jsonl(folder / "in" / "events-2.jsonl", souk_rows(shop.log[:1]))
        examples = SoukExampleGen(config_json=config.to_json(), fingerprint=fingerprint(config))
        BeamDagRunner().run(
            Pipeline(
                pipeline_name="ingestion",
                pipeline_root=str(folder / "artifacts"),
                components=[examples],
                enable_cache=True,
                metadata_connection_config=connection,
                beam_pipeline_args=["--runner=FnApiRunner"],
            )
        )
    with metadata.Metadata(connection) as handler:
        states = [execution.last_known_state for execution in handler.store.get_executions()]
        found = handler.store.get_artifacts_by_type("Examples")
        return states, [
            artifact_utils.deserialize_artifact(handler.store.get_artifact_type("Examples"), a) for a in found
        ]


def test_only_unchanged_inputs_come_from_the_cache(runs) -> None:
    states, artifacts = runs
    complete, cached = 3, 5
    assert states == [complete, cached, complete]
    assert len(artifacts) == 2
    assert [a.get_int_custom_property("events.duplicates") for a in artifacts] == [0, 1]


def test_the_artifact_names_its_splits_format_and_counters(runs) -> None:
    _, artifacts = runs
    examples = artifacts[0]
    assert json.loads(examples.split_names) == ["train", "eval", "catalog"]
    assert examples.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    assert examples.get_int_custom_property("examples.catalog") == 30
    assert examples.get_int_custom_property("events.dropped.unknown_item") > 0
    assert examples.span == 20562  # 2026-04-19


def test_the_artifacts_folder_holds_the_examples(runs) -> None:
    _, artifacts = runs
    first, second = (written.rows(artifact.uri, "train") for artifact in artifacts)
    assert len(first) == artifacts[0].get_int_custom_property("examples.train")
    assert first == second

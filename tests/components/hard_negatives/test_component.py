"""The miner as a node of a real pipeline: first without a blessed model, then with one."""

import json
from pathlib import Path

import pytest
from tfx.components.util import examples_utils
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from components.hard_negatives.component import HardNegativeMiner
from components.hard_negatives.config import HardNegativesConfig
from components.recall_gate.component import RecallGate
from components.recall_gate.config import GateConfig
from evaluation import ledger
from pipeline import baselines
from tests.evaluation import small_world as world

CONFIG = HardNegativesConfig(enabled=True, first_rank=31, last_rank=60)
LENIENT = GateConfig(ks=(20,), primary_k=20, min_recall=0.0, bootstrap_samples=100, latency_requests=5)


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    """The miner's outputs of two runs, as ML Metadata has them; the first run's model was blessed."""
    folder = tmp_path_factory.mktemp("miner")
    examples_dir = world.write_examples(folder / "examples")
    world.save_servable(folder / "model" / "Format-Serving", noise=0.1)
    connection = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    for _ in range(2):
        examples = Importer(
            source_uri=str(examples_dir),
            artifact_type=standard_artifacts.Examples,
            properties={"split_names": json.dumps(["train", "eval", "catalog"]), "span": 20000},
            custom_properties={"payload_format": "FORMAT_TF_EXAMPLE", "file_format": "tfrecords_gzip"},
        ).with_id("examples")
        blessed = baselines.model_to_mine()
        miner = HardNegativeMiner(
            examples=examples.outputs["result"],
            servable=blessed.outputs[baselines.MODEL],
            config_json=CONFIG.to_json(),
        )
        servable = Importer(source_uri=str(folder / "model"), artifact_type=standard_artifacts.Model).with_id(
            "servable"
        )
        servable.add_upstream_node(miner)
        gate = RecallGate(
            servable=servable.outputs["result"], examples=examples.outputs["result"], config_json=LENIENT.to_json()
        )
        BeamDagRunner().run(
            Pipeline(
                pipeline_name="mining",
                pipeline_root=str(folder / "artifacts"),
                components=[examples, blessed, miner, servable, gate],
                enable_cache=False,
                beam_pipeline_args=["--runner=FnApiRunner"],
                metadata_connection_config=connection,
            )
        )
    with metadata.Metadata(connection) as handle:
        found = handle.store.get_artifacts_by_type("Examples")
    return sorted((a for a in found if "HardNegativeMiner" in a.uri), key=lambda artifact: artifact.id)


def test_examples_are_mined_only_after_a_run_blessed_a_model(mined):
    counts = [
        {name: made.custom_properties[name].int_value for name in ("requests", "mined_requests", "negatives")}
        for made in mined
    ]
    assert counts[0] == {"requests": 0, "mined_requests": 0, "negatives": 0}
    assert counts[1] == {"requests": 810, "mined_requests": 810, "negatives": 810 * CONFIG.per_request}


def test_the_artifact_is_described_as_the_one_it_was_made_of(mined):
    for made in mined:
        assert json.loads(made.properties["split_names"].string_value) == ["train", "eval", "catalog"]
        assert made.properties["span"].int_value == 20000
        assert made.custom_properties["payload_format"].string_value == "FORMAT_TF_EXAMPLE"
        assert sorted(path.name for path in Path(made.uri).iterdir()) == ["Split-catalog", "Split-eval", "Split-train"]


def test_transform_can_read_it(mined):
    artifact = standard_artifacts.Examples()
    artifact.set_mlmd_artifact(mined[1])
    assert examples_utils.get_payload_format(artifact) == example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE
    assert examples_utils.get_file_format(artifact) == "tfrecords_gzip"


def test_without_a_resolver_the_ledger_has_the_blessed_model(tmp_path):
    servable, examples = standard_artifacts.Model(), standard_artifacts.Examples()
    servable.uri, examples.uri = str(tmp_path / "model"), str(world.write_examples(tmp_path / "examples"))
    examples.split_names = json.dumps(["train", "eval", "catalog"])
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    world.save_servable(tmp_path / "model" / "Format-Serving", noise=0.1)
    book = str(tmp_path / "ledger")
    counts = []
    for number in range(2):
        made = standard_artifacts.Examples()
        made.uri = str(tmp_path / f"mined-{number}")
        HardNegativeMiner.test_call(examples=examples, mined_examples=made, config_json=CONFIG.to_json(), ledger=book)
        counts.append(made.get_int_custom_property("mined_requests"))
        ledger.record(book, ledger.SERVABLES, servable)
    assert counts == [0, 810]

import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from components.schema_gate.config import DEFAULT_SCHEMA
from pipeline.config import PipelineConfig
from pipeline.pipeline import create_pipeline
from schema.settings import InputError

MINING = {"hard_negatives": {"enabled": True}, "train": {"negatives": {"hard": 4}}}


def settings(folder, **changes) -> PipelineConfig:
    for name in ("events", "catalog"):
        (folder / f"{name}.jsonl").write_text("{}\n")
    data = {name: str(folder / f"{name}.jsonl") for name in ("events", "catalog")}
    return PipelineConfig.parse({"root": str(folder / "run"), "ingest": {"data": data}, **changes})


def nodes(config: PipelineConfig) -> dict:
    return {node.id: node for node in create_pipeline(config).components}


def upstream(node) -> set[str]:
    return {other.id for other in node.upstream_nodes}


def test_without_mining_transform_reads_what_was_ingested(tmp_path):
    steps = nodes(settings(tmp_path))
    assert not {"HardNegativeMiner", "ModelToMine"} & set(steps)
    assert upstream(steps["Transform"]) == {"SoukExampleGen", "SchemaGate"}


def test_ingestion_alone_takes_as_many_threads_as_processors(tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    steps = nodes(settings(tmp_path))
    ours, others = (
        PipelineOptions(steps[name].executor_spec.beam_pipeline_args).view_as(DirectOptions)
        for name in ("SoukExampleGen", "Transform")
    )
    assert (ours.direct_running_mode, ours.direct_num_workers) == ("multi_threading", 3)
    assert (others.direct_running_mode, others.direct_num_workers) == ("in_memory", 1)


def test_the_miner_follows_the_gate_and_feeds_transform_alone(tmp_path):
    steps = nodes(settings(tmp_path, **MINING))
    assert upstream(steps["Transform"]) == {"HardNegativeMiner", "SchemaGate"}
    assert upstream(steps["HardNegativeMiner"]) == {"SoukExampleGen", "SchemaGate", "ModelToMine"}
    assert upstream(steps["ModelToMine"]) == set()
    for step in ("StatisticsGen", "IndexBuilder", "RecallGate", "Canary"):
        assert "HardNegativeMiner" not in upstream(steps[step])


def test_a_warm_start_finds_the_earlier_model_before_training(tmp_path):
    assert "ModelToStartFrom" not in nodes(settings(tmp_path))
    steps = nodes(settings(tmp_path, train={"warm_start": True}))
    assert upstream(steps["Trainer"]) == {"ModelToStartFrom", "SchemaGate", "Transform"}
    assert upstream(steps["ModelToStartFrom"]) == set()


def test_a_schema_that_would_drop_what_is_mined_is_refused(tmp_path):
    with open(DEFAULT_SCHEMA) as file:
        text = file.read().replace('name: "hard_negatives"', 'name: "other"')
    (tmp_path / "old.pbtxt").write_text(text)
    config = settings(tmp_path, **MINING, schema_gate={"schema_path": str(tmp_path / "old.pbtxt")})
    with pytest.raises(InputError, match=r"old\.pbtxt has no feature `hard_negatives`.*Copy that feature"):
        create_pipeline(config)


def test_a_wrong_text_encoder_is_refused_before_any_step(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        create_pipeline(settings(tmp_path, train={"text_encoder": str(tmp_path / "minilm")}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hard_negatives": {"enabled": True}}, "mined but not learned from"),
        ({"train": {"negatives": {"hard": 4}}}, "to be learned from but not mined"),
    ],
)
def test_to_mine_and_to_learn_from_what_is_mined_go_together(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        settings(tmp_path, **changes)

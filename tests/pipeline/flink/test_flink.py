"""Souk's Beam steps on a real Flink, with workers in other processes and another environment than the tests'."""

from collections import Counter
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from apache_beam.options.pipeline_options import PipelineOptions

from components.example_gen.ingest import run_ingest
from components.example_gen.timestamps import parse_timestamp
from components.index_builder.catalogue import embed_catalogue, read_parts
from components.recall_gate.replay import Servable
from components.recall_gate.replay_job import Question, ReplayJob
from pipeline import config as pipeline_config
from pipeline import local_runner
from pipeline.beam import beam_arguments
from pipeline.pipeline import create_data_pipeline
from schema.features import CATALOG_SPLIT, EVAL_SPLIT, OUTPUT_ITEM_IDS, OUTPUT_SCORES, SIGNATURE_DEFAULT, SPLITS
from tests.components.example_gen.small_shop import make_shop, write_shop

# As a cluster would be set up; by default a job of which a worker is lost has failed.
RETRIES = """
restart-strategy:
  type: fixed-delay
  fixed-delay:
    attempts: 20
    delay: 1 s
"""
DYING = Path(__file__).parent / "dying_worker.py"


def newest(root: Path, step: str, output: str) -> Path:
    return max((root / "artifacts" / step / output).iterdir(), key=lambda folder: int(folder.name))


def records(folder: Path) -> Counter[bytes]:
    files = sorted(str(path) for path in folder.iterdir())
    return Counter(record.numpy() for record in tf.data.TFRecordDataset(files, compression_type="GZIP"))


def test_ingestion_statistics_and_transform_give_what_they_give_here(flink, tiny_shop, tmp_path):
    here, there = tiny_shop.root, tmp_path / "run"
    config = pipeline_config.load(tiny_shop.config, [f"root={there}"])
    run = local_runner.run(config.model_copy(update={"beam": flink.beam(processes=1)}), create=create_data_pipeline)
    assert {step.state for step in run.steps} == {"done"}
    for step, output in (("SoukExampleGen", "examples"), ("Transform", "transformed_examples")):
        for split in SPLITS:
            found, expected = (records(newest(root, step, output) / f"Split-{split}") for root in (there, here))
            assert expected
            assert found == expected, f"{step} {split}"
    for split in SPLITS:
        found, expected = (
            tfdv.load_stats_binary(str(newest(root, "StatisticsGen", "statistics") / f"Split-{split}/FeatureStats.pb"))
            for root in (there, here)
        )
        assert found == expected, split
    vocabularies = [newest(root, "Transform", "transform_graph") / "transform_fn" / "assets" for root in (there, here)]
    assert sorted(path.name for path in vocabularies[1].iterdir()) == sorted(p.name for p in vocabularies[0].iterdir())
    for path in vocabularies[1].iterdir():
        assert (vocabularies[0] / path.name).read_bytes() == path.read_bytes()


def test_the_catalogue_gets_the_vectors_that_it_gets_here(flink, tiny_shop, tmp_path):
    model = newest(tiny_shop.root, "Trainer", "model") / "Format-Serving"
    items = newest(tiny_shop.root, "SoukExampleGen", "examples") / f"Split-{CATALOG_SPLIT}" / "*"
    embedded = []
    for name, arguments in (
        ("here", ["--runner=FnApiRunner"]),
        ("there", beam_arguments(flink.beam(processes=1), [("root", str(tmp_path))])),
    ):
        (tmp_path / name).mkdir()
        with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
            embed_catalogue(pipeline, str(model), str(items), str(tmp_path / name))
        embedded.append(read_parts(str(tmp_path / name)))
    here, there = embedded
    np.testing.assert_array_equal(there.table.item_ids, here.table.item_ids)
    np.testing.assert_allclose(there.vectors, here.vectors, atol=1e-6)
    np.testing.assert_array_equal(there.fingerprints, here.fingerprints)
    for name, column in here.table.columns.items():
        np.testing.assert_array_equal(there.table.columns[name], column)


def test_servables_answer_there_what_they_answer_here(flink, tiny_shop, tmp_path):
    servable = newest(tiny_shop.root, "IndexBuilder", "servable") / "Format-Serving"
    requests = list(records(newest(tiny_shop.root, "SoukExampleGen", "examples") / f"Split-{EVAL_SPLIT}"))
    question = Question(servable, SIGNATURE_DEFAULT, requests, 64)
    arguments = beam_arguments(flink.beam(processes=1), [("root", str(tmp_path))])
    with ReplayJob(lambda: beam.Pipeline(options=PipelineOptions(arguments)), tmp_path) as job:
        (there,) = job.ask([question])
    here = Servable(servable).ask(SIGNATURE_DEFAULT, requests, 64)
    np.testing.assert_allclose(there[OUTPUT_SCORES], here[OUTPUT_SCORES], atol=1e-5)
    np.testing.assert_array_equal(there[OUTPUT_ITEM_IDS], here[OUTPUT_ITEM_IDS])


def test_a_worker_killed_half_way_costs_a_retry_and_not_the_result(flink, tmp_path, monkeypatch):
    config = write_shop(tmp_path / "in", make_shop())
    run_ingest(config, str(tmp_path / "here"))
    died = tmp_path / "died"
    (tmp_path / "config.yaml").write_text(RETRIES)
    settings = flink.beam(processes=2, program=str(DYING), SOUK_DIED=str(died))
    worker = settings.worker.model_copy(update={"renewed_after_s": 4.0})
    settings = settings.model_copy(update={"worker": worker, "options": (f"--flink_conf_dir={tmp_path}",)})
    run_ingest(config, str(tmp_path / "there"), beam_arguments(settings, [("--out", str(tmp_path))]))
    assert died.exists()
    here, there = (
        {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file() and path.name != "summary.json"
        }
        for name in ("here", "there")
    )
    assert there == here


def test_what_a_worker_says_of_bad_input_is_what_the_user_reads(flink):
    pipeline = beam.Pipeline(options=PipelineOptions(beam_arguments(flink.beam(processes=1))))
    _ = pipeline | beam.Create(["the day before"]) | beam.Map(parse_timestamp)
    with pytest.raises(RuntimeError) as error:
        pipeline.run().wait_until_finish()
    expected = "'the day before' is not a timestamp; write it as RFC 3339, for example 2026-03-01T00:00:00Z"
    assert str(local_runner._input_error(error.value)) == expected

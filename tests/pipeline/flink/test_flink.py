"""Souk's Beam steps on a real Flink, with workers in other processes and another environment than the tests'."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.example_gen.ingest import run_ingest
from components.example_gen.times import parse_timestamp
from components.index_builder.catalog import SharedModel, embed_catalog, read_parts
from evaluation.replay_job import Question, ReplayJob
from evaluation.servable import LoadedServable
from pipeline import config as pipeline_config
from pipeline import local_runner
from pipeline.beam import beam_arguments
from pipeline.pipeline import create_data_pipeline
from schema.features import CATALOG_SPLIT, EVAL_SPLIT, OUTPUT_ITEM_IDS, OUTPUT_SCORES, SIGNATURE_DEFAULT, SPLITS
from tests.components.example_gen.small_shop import make_shop, write_shop

pytestmark = pytest.mark.slow

# Where statistics list frequent values, and what names and counts each of them there.
FREQUENT = {"topValues": ("value", "frequency"), "rankHistogram": ("label", "sampleCount")}
DYING = Path(__file__).parent / "dying_worker.py"


def newest(root: Path, step: str, output: str) -> Path:
    return max((root / "artifacts" / step / output).iterdir(), key=lambda folder: int(folder.name))


def records(folder: Path) -> Counter[bytes]:
    """The examples of a split and how often each is there; with features in one order, which they lack on the disk."""
    files = sorted(str(path) for path in folder.iterdir())
    examples = (
        tf.train.Example.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(files, compression_type="GZIP")
    )
    return Counter(example.SerializeToString(deterministic=True) for example in examples)


def figures(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, float | str]:
    """Every number and text by where it stands; lists of frequent values as `without_ties` gives them."""
    found = {}

    def walk(where: str, value: object) -> None:
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if name in FREQUENT:
                text, count = FREQUENT[name]
                holder = inner if name == "topValues" else inner["buckets"]
                pairs = [(entry.get(text, ""), entry[count]) for entry in holder]
                found.update({f"{where}/{name}/{key}": value for key, value in without_ties(pairs).items()})
            elif isinstance(inner, dict | list):
                walk(f"{where}/{name}", inner)
            else:
                found[f"{where}/{name}"] = inner

    for feature in statistics.datasets[0].features:
        walk("/".join(feature.path.step), json_format.MessageToDict(feature))
    walk("all", {"examples": statistics.datasets[0].num_examples})
    return found


def without_ties(counted: Sequence[tuple[str, float]]) -> dict[str, float]:
    """What a list of the most frequent values says that does not depend on the order of the data.

    It is bounded: which of the values that tie with its last one it holds, and how those of equal frequency follow one
    another, comes from the order in which parts of the data are merged. All frequencies are determined, and the values
    that are more frequent than the last one.
    """
    least = counted[-1][1] if counted else 0.0
    frequencies = {f"rank {rank}": frequency for rank, (_, frequency) in enumerate(counted)}
    return frequencies | {f"value {value!r}": frequency for value, frequency in counted if frequency > least}


def test_frequent_values_are_compared_by_what_ties_leave():
    here = [("a", 3.0), ("b", 2.0), ("c", 2.0), ("d", 1.0)]
    there = [("a", 3.0), ("c", 2.0), ("b", 2.0), ("e", 1.0)]
    assert without_ties(here) == without_ties(there)
    assert without_ties(here) != without_ties([("a", 3.0), ("b", 2.0), ("e", 2.0), ("d", 1.0)])
    assert without_ties(here) != without_ties(here[:-1])


def test_ingestion_statistics_and_transform_give_the_same_there(flink, tiny_shop, tmp_path):
    here, there = tiny_shop.root, tmp_path / "run"
    config = pipeline_config.load(tiny_shop.config, [f"root={there}"])
    run = local_runner.run(config.model_copy(update={"beam": flink.beam(workers=1)}), create=create_data_pipeline)
    assert run.state == "done"
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
        assert figures(found) == pytest.approx(figures(expected), rel=1e-6), split
    vocabularies = [newest(root, "Transform", "transform_graph") / "transform_fn" / "assets" for root in (there, here)]
    assert sorted(path.name for path in vocabularies[1].iterdir()) == sorted(p.name for p in vocabularies[0].iterdir())
    for path in vocabularies[1].iterdir():
        assert (vocabularies[0] / path.name).read_bytes() == path.read_bytes()


def test_the_catalog_gets_the_vectors_that_it_gets_here(flink, tiny_shop, tmp_path):
    model = newest(tiny_shop.root, "Trainer", "model") / "Format-Serving"
    items = newest(tiny_shop.root, "SoukExampleGen", "examples") / f"Split-{CATALOG_SPLIT}" / "*"
    embedded = []
    for name, arguments in (
        ("here", ["--runner=FnApiRunner"]),
        ("there", beam_arguments(flink.beam(workers=1), [("root", str(tmp_path))])),
    ):
        (tmp_path / name).mkdir()
        with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
            embed_catalog(pipeline, SharedModel(str(model)), str(items), str(tmp_path / name))
        embedded.append(read_parts(str(tmp_path / name)))
    here, there = embedded
    np.testing.assert_array_equal(there.table.item_ids, here.table.item_ids)
    np.testing.assert_allclose(there.vectors, here.vectors, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(there.fingerprints, here.fingerprints)
    for name, column in here.table.columns.items():
        np.testing.assert_array_equal(there.table.columns[name], column)


def test_servables_answer_there_what_they_answer_here(flink, tiny_shop, tmp_path):
    servable = newest(tiny_shop.root, "IndexBuilder", "servable") / "Format-Serving"
    requests = list(records(newest(tiny_shop.root, "SoukExampleGen", "examples") / f"Split-{EVAL_SPLIT}"))
    question = Question(servable, SIGNATURE_DEFAULT, requests, 64)
    arguments = beam_arguments(flink.beam(workers=1), [("root", str(tmp_path))])
    with ReplayJob(lambda: beam.Pipeline(options=PipelineOptions(arguments)), tmp_path) as job:
        (there,) = job.ask([question])
    here = LoadedServable(servable).ask(SIGNATURE_DEFAULT, requests, 64)
    np.testing.assert_allclose(there[OUTPUT_SCORES], here[OUTPUT_SCORES], atol=1e-5)
    np.testing.assert_array_equal(there[OUTPUT_ITEM_IDS], here[OUTPUT_ITEM_IDS])


def test_a_worker_killed_half_way_costs_a_retry_not_the_result(flink, tmp_path, monkeypatch):
    config = write_shop(tmp_path / "in", make_shop())
    run_ingest(config, str(tmp_path / "here"))
    died = tmp_path / "died"
    settings = flink.beam(workers=2, processes=2, program=str(DYING), retries=20, SOUK_DIED=str(died))
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
    pipeline = beam.Pipeline(options=PipelineOptions(beam_arguments(flink.beam(workers=1))))
    _ = pipeline | beam.Create(["the day before"]) | beam.Map(parse_timestamp)
    with pytest.raises(RuntimeError) as error:
        pipeline.run().wait_until_finish()
    expected = "'the day before' is not a timestamp; write it as RFC 3339, for example 2026-03-01T00:00:00Z"
    assert str(local_runner._input_error(error.value)) == expected

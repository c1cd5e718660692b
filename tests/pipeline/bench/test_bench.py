"""A whole bench over the tiny shop, stopped in its midst and taken up again."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from evaluation import metrics
from pipeline import config as pipeline_config
from pipeline.bench import output, run, trial, variants
from pipeline.bench.data import BenchData, EvalDay, prepare, read_eval_day
from pipeline.bench.results import BenchResult
from pipeline.config import PipelineConfig
from pipeline.run_lock import BusyError, run_lock
from tests.conftest import souk_here

pytestmark = pytest.mark.slow

SMALL = {"train": {"embedding_dim": 16, "dim": 16, "hidden": [16], "epochs": 1}}
FILE = {
    "variants": {
        "plain": {"about": "small two-tower", "train": {"model": "two_tower", **SMALL["train"]}},
        "plain, hinge": {"base": "plain", "train": {"loss": {"kind": "hinge"}}},
    },
    "targets": [{"about": "softmax is the better loss", "system": ["plain"], "over": ["plain, hinge"]}],
}


REFERENCES = ["bm25", "popularity", "shown_engine", "as_shown", *variants.ORACLES]


class Killed(BaseException):
    """Ends a bench as a signal would."""


@dataclass(frozen=True)
class Bench:
    """A bench after it was stopped in its third training and then taken up again.

    Attributes:
      before: when the results of what was finished by then were written; told: what it said of its progress.
      command: shows it by the command line.
    """

    out: Path
    config: PipelineConfig
    data: BenchData
    jobs: tuple[run.BenchJob, ...]
    before: dict[run.BenchJob, int]
    finished: dict[run.BenchJob, trial.Trial]
    day: EvalDay
    result: BenchResult
    told: tuple[str, ...]
    command: tuple[str, ...]


@pytest.fixture(scope="module")
def bench(tiny_shop, tmp_path_factory):
    """Two variants, one training each, over the tiny shop."""
    folder = tmp_path_factory.mktemp("bench")
    out = folder / "out"
    out.mkdir()
    # The steps before the training are taken from the shop's own run.
    shutil.copy(tiny_shop.root / "metadata.sqlite", out)
    file = folder / "models.yaml"
    file.write_text(yaml.safe_dump(FILE, sort_keys=False))
    settings = [f"root={out}", "train.epochs=1"]
    config = pipeline_config.load(tiny_shop.config, settings)
    listed = variants.read_bench_file(file)
    trainings = {
        name: [variants.trainer_config(tiny_shop.config, settings, listed, name, 0)]
        for name in (variants.TUTORIAL, *listed.variants)
    }
    data = prepare(config)
    day = read_eval_day(data, config.gate, Path(config.ingest.data.catalog[0]))
    jobs = run.list_jobs(trainings, config, data)
    told = []

    def kill_in_the_third(message):
        told.append(message)
        if sum(line.startswith("training ") for line in told) == 3:
            # What a killed process leaves half done.
            (out / "work").mkdir(exist_ok=True)
            partial = jobs[2].folder(out)
            partial.with_name(partial.name + ".partial").mkdir()
            raise Killed

    with pytest.raises(Killed):
        output.watched(lambda _: run.run_jobs(jobs, config, data, day, out, kill_in_the_third), out)
    before = {job: (job.folder(out) / "trial.json").stat().st_mtime_ns for job in run.read_finished(jobs, out)}
    finished = output.watched(lambda _: run.run_jobs(jobs, config, data, day, out, told.append), out)
    result = run.summarize(listed, listed.variants, jobs, finished, config, day)
    command = (
        "bench",
        "models",
        "--config",
        tiny_shop.config,
        "--set",
        "train.epochs=1",
        "--models",
        str(file),
        "--seeds",
        "1",
    )
    return Bench(
        out, config, data, tuple(jobs), before, finished, day, result, tuple(told), (*command, "--out", str(out))
    )


def test_a_stopped_bench_keeps_what_was_done_and_does_the_rest(bench):
    assert [job.system for job in bench.before] == ["tutorial", "plain"]
    for job, written in bench.before.items():
        assert (job.folder(bench.out) / "trial.json").stat().st_mtime_ns == written
    assert len(bench.finished) == len(bench.jobs) == 3
    assert "2 of 3 trainings are on disk already" in bench.told
    assert any("1 trainings to do, about" in line for line in bench.told)
    assert not (bench.out / "work").exists()


def test_a_folder_in_which_a_bench_is_at_work_is_refused(bench):
    with run_lock(str(bench.out)), pytest.raises(BusyError, match="give this one a folder of its own"):
        run.run_jobs(bench.jobs, bench.config, bench.data, bench.day, bench.out, print)


def test_the_tables_are_what_the_answers_say(bench):
    day, result = bench.day, bench.result
    plain, hinge = (trial.load(job.folder(bench.out)) for job in bench.jobs if job.system != "tutorial")
    assert not np.array_equal(plain.rows, hinge.rows)
    relevant = day.requests.relevant
    recall = metrics.recall_at(metrics.first_ranks(plain.rows, relevant), relevant, 100)
    found = result.system("plain").metrics["recall@100"]
    assert (found.estimate.value, found.by_seed) == (pytest.approx(recall.mean()), pytest.approx((recall.mean(),)))
    assert found.estimate.low < found.estimate.value < found.estimate.high
    # A trained model finds more than a draw of items would.
    assert found.estimate.value > 2 * 100 / len(day.catalog)
    names = [system.name for system in result.systems]
    assert names == [*FILE["variants"], "tutorial", *REFERENCES]
    assert all(system.examples_per_second and system.latency_ms for system in result.systems if system.seeds)
    found = {system.name: system.metrics["p_good@100"].estimate.value for system in result.systems}
    # Needs of this shop are met by few items, and both answer with a hundred.
    assert 0 < found["plain"] <= found["oracle_relevance"] < 0.5
    history = {size.key: size.requests for size in result.slices}
    assert history["history=with"] + history["history=without"] == result.requests


def test_a_score_orders_the_items_as_the_served_answer_does(bench):
    job = next(job for job in bench.jobs if job.system == "plain")
    answer, day = trial.load(job.folder(bench.out)), bench.day
    checked = 0
    for rows, page, scores in zip(answer.rows, day.requests.shown, answer.page_scores, strict=True):
        ranks = {row: rank for rank, row in enumerate(rows)}
        both = sorted((ranks[row], -score) for row, score in zip(page, scores, strict=True) if row in ranks)
        assert [score for _, score in both] == pytest.approx(sorted(score for _, score in both), abs=1e-4)
        checked += len(both) > 1
    assert checked > 10


def test_a_finished_bench_is_shown_and_written_without_training(bench):
    shown = souk_here(*bench.command, "--finished", "--json")
    result = json.loads(shown.stdout[shown.stdout.index("{") :])
    assert result["systems"][0]["metrics"]["recall@100"]["estimate"]["value"] == pytest.approx(
        bench.result.systems[0].metrics["recall@100"].estimate.value
    )
    assert result["targets"][0]["state"] != "not measured"
    text = (bench.out / "models.txt").read_text()
    for words in (
        "plain, hinge",
        "TFRS tutorial",
        "simulated logs",
        "softmax is the better loss",
        "What each part earns",
    ):
        assert words in text
    page = (bench.out / "models.html").read_text()
    assert "plain, hinge" in page
    assert "<script" not in page
    assert (bench.out / "models.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("name", ["plain", "tutorial"])
def test_only_what_is_named_is_trained_and_shown(bench, name):
    shown = souk_here(*bench.command, "--finished", "--only", name, "--json")
    result = json.loads(shown.stdout[shown.stdout.index("{") :])
    assert [system["name"] for system in result["systems"] if system["seeds"]] == [name]
    assert result["warnings"] == []


def test_answers_of_other_settings_are_not_taken_for_these(bench):
    shown = souk_here(*bench.command, "--set", "train.batch_size=64", "--finished", "--json")
    result = json.loads(shown.stdout[shown.stdout.index("{") :])
    assert [system["name"] for system in result["systems"]] == REFERENCES
    assert result["warnings"] == ["not trained yet: tutorial, plain, plain, hinge"]


def test_a_seed_that_is_not_trained_yet_is_told_of(bench):
    shown = souk_here(*bench.command, "--seeds", "2", "--finished")
    assert "Note: not every system is trained with every seed yet: tutorial has 1 of 2, plain has 1 of 2" in " ".join(
        shown.output.split()
    )


def test_a_result_that_was_cut_off_counts_as_none(bench, tmp_path):
    whole = bench.jobs[0].folder(bench.out)
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    (cut / "answers.npz").write_bytes((whole / "answers.npz").read_bytes()[:200])
    assert trial.load(whole) is not None
    assert trial.load(cut) is None
    assert trial.load(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "plane"), "there is no variant `plane`"),
        (("--models", "nowhere.yaml"), "there is no file nowhere.yaml"),
        (("--set", "train.epoch=3"), "did you mean `epochs`"),
        (("--seeds", "0"), "0 is not in the range"),
    ],
)
def test_bad_input_ends_with_a_message_and_exit_code_2(bench, arguments, words):
    assert words in souk_here(*bench.command, *arguments, expect=2).output

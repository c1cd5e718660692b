"""A compiled pipeline in the form in which a schedule runs it, step by step by its containers' own command lines.

The containers' Python is what the image would install, out of reach of this checkout.
"""

import copy
import gzip
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import tensorflow as tf
import yaml

from pipeline.runs.outcome import RunOutcome
from pipeline.schedule.compiled import read
from pipeline.schedule.cron import Cron
from pipeline.schedule.plan import plan
from tests.conftest import souk, souk_here
from tests.pipeline.cluster import Cluster, Step

pytestmark = pytest.mark.slow

# The log goes on to the end of this day.
DATE = "2025-04-14"
NEXT_DATE = "2025-04-15"
FIRST = {
    "train": "model=two_tower epochs=1",
    "gate": "min_recall=0.01 must_beat=[]",
}


@dataclass(frozen=True)
class Runs:
    """A whole run, of another one, with another servable, what comes after it, and of a refresh what it has of its own.

    Attributes:
      root: `root` of the configuration.
      first: the whole run.
      second: its gate lets nothing through.
      refresh: of a later day's catalog, which lacks an item; nothing is pushed.
      gone: that item.
    """

    root: Path
    first: dict[str, Step]
    second: dict[str, Step]
    refresh: dict[str, Step]
    gone: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory, clean_environment) -> Runs:
    folder = tmp_path_factory.mktemp("cluster")
    logs, root = folder / "logs", folder / "shop" / "souk"
    souk("simulate", "--preset", "tiny", "--out", str(logs))
    (logs / "catalog.jsonl.gz").rename(logs / f"catalog-{DATE}.jsonl.gz")
    settings = {
        "root": "gs://shop/souk",
        "ingest.data.events": "gs://logs/events/*.jsonl.gz",
        "ingest.data.catalog": "'gs://logs/catalog-{date}.jsonl.gz'",
        "ingest.data.users": "gs://logs/users.jsonl.gz",
    }
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    compiled, compiled_refresh = folder / "pipeline.yaml", folder / "refresh.yaml"
    where = ("--target", "kubeflow", "--image", "souk:1", "--output")
    clean_environment.run("souk", "compile", "--config", "tiny", *options, *where, str(compiled))
    souk_here("compile", "--config", "tiny", *options, *where, str(compiled_refresh), "--pipeline", "refresh")
    scheduled = folder / "scheduled.yaml"
    scheduled.write_text(yaml.safe_dump(plan(read(compiled), Cron.parse("30 2 * * *")).spec))
    moment = f"{DATE}T02:30:00Z"
    cluster = Cluster({"gs://shop": folder / "shop", "gs://logs": logs}, folder / "scratch", clean_environment, moment)
    first = cluster.run(scheduled, FIRST)

    done = {name: step for name, step in first.items() if name not in ("RecallGate", "Pusher")}
    done["IndexBuilder"] = copy.deepcopy(first["IndexBuilder"])
    servable = done["IndexBuilder"].outputs["servable"]
    servable |= {"uri": str(root / "another"), "name": f"{servable['name']}0"}
    shutil.copytree(first["IndexBuilder"].outputs["servable"]["uri"], servable["uri"])
    second = cluster.run(scheduled, {**FIRST, "gate": "min_recall=1.0"}, done)

    with gzip.open(logs / f"catalog-{DATE}.jsonl.gz", "rt") as file:
        gone, *rows = file
    with gzip.open(logs / f"catalog-{NEXT_DATE}.jsonl.gz", "wt") as file:
        file.writelines(rows)
    # What a refresh does as a whole run does is left out.
    done = {name: first[name] for name in ("StatisticsGen", "SchemaGate", "Pusher")}
    refresh = cluster.run(compiled_refresh, {"date": NEXT_DATE, "gate": FIRST["gate"]}, done)
    return Runs(root, first, second, refresh, json.loads(gone)["item_id"])


def test_a_run_pushes_a_model(runs):
    blessings = [runs.first["RecallGate"].property("blessing", "blessed")]
    blessings.append(runs.first["Canary"].property("blessing", "blessed"))
    pushed = runs.first["Pusher"]
    assert [*blessings, pushed.property("pushed_model", "pushed")] == [1, 1, 1]
    version = runs.root / "serving" / "souk" / pushed.property("pushed_model", "pushed_version")
    assert pushed.property("pushed_model", "pushed_destination") == str(version)
    assert {"saved_model.pb", "variables", "assets.extra"} <= {path.name for path in version.iterdir()}
    assert {step.attempts for step in runs.first.values()} == {1}


def test_the_date_cuts_the_log_and_finds_the_days_catalog(runs):
    examples = runs.first["SoukExampleGen"]
    assert examples.property("examples", "events.not_before_date") > 0
    assert examples.property("examples", "examples.catalog") > 0
    # Days since 1970; the run's own day is not in it.
    assert examples.property("examples", "span") == 20192
    summary = json.loads(Path(examples.outputs["examples"]["uri"], "summary.json").read_text())
    assert summary["end_ms"] == 20192 * 24 * 3_600_000


def test_a_run_replaces_the_model_type_and_the_thresholds(runs):
    assert runs.first["IndexBuilder"].property("servable", "model") == "two_tower"
    assert "at least 0.01" in runs.first["RecallGate"].property("blessing", "blessing_message")


def test_every_run_leaves_a_summary_in_the_bucket(runs):
    first, second = (
        RunOutcome.from_json((runs.root / "summaries" / f"run-{number}.json").read_text()) for number in (1, 2)
    )
    assert (first.result, first.exit_code, first.run_id) == ("pushed", 0, "run-1")
    assert first.push.version == runs.first["Pusher"].property("pushed_model", "pushed_version")
    assert first.data.inputs["events"].other["not_before_date"] > 0
    assert (first.model.type, first.model.epochs) == ("two_tower", 1)
    assert first.index.indexed_items == runs.first["IndexBuilder"].property("servable", "indexed_items")
    assert first.canary.passed
    assert (second.result, second.exit_code, second.gate.blessed) == ("refused", 3, False)
    assert second.gate.baseline.uri == runs.first["IndexBuilder"].outputs["servable"]["uri"]


def test_a_run_is_compared_with_what_an_earlier_one_blessed(runs):
    blessed = runs.first["IndexBuilder"].outputs["servable"]["uri"]
    assert runs.first["RecallGate"].property("blessing", "baseline_model") is None
    assert runs.second["RecallGate"].property("blessing", "baseline_model") == blessed
    evaluation = Path(runs.second["RecallGate"].outputs["evaluation"]["uri"], "evaluation.json")
    assert "baseline" in {system["key"] for system in json.loads(evaluation.read_text())["systems"]}


def test_a_refused_model_is_neither_pushed_nor_later_a_baseline(runs):
    assert runs.second["RecallGate"].property("blessing", "blessed") == 0
    assert runs.second["Pusher"].property("pushed_model", "pushed") == 0
    assert len(list((runs.root / "serving" / "souk").iterdir())) == 1
    entries = sorted((runs.root / "ledger" / "servables").iterdir())
    blessed = [made["IndexBuilder"].outputs["servable"]["uri"] for made in (runs.first, runs.refresh)]
    assert [json.loads(entry.read_text())["uri"] for entry in entries] == blessed


def test_a_refresh_gives_the_blessed_model_the_days_catalog(runs):
    assert runs.refresh["CatalogExampleGen"].outputs["examples"]["metadata"]["split_names"] == '["catalog"]'
    before, after = (made["IndexBuilder"].outputs["servable"]["metadata"] for made in (runs.first, runs.refresh))
    assert after["trained_model"] == before["trained_model"]
    assert after["requests"] == before["requests"] == runs.first["SoukExampleGen"].outputs["examples"]["uri"]
    assert after["indexed_items"] in (before["indexed_items"], before["indexed_items"] - 1)
    blessed = runs.first["IndexBuilder"].outputs["servable"]["uri"]
    assert runs.refresh["RecallGate"].property("blessing", "baseline_model") == blessed
    assert [runs.refresh[step].property("blessing", "blessed") for step in ("RecallGate", "Canary")] == [1, 1]


def test_a_refresh_leaves_out_the_item_that_has_gone(runs):
    catalog = Path(runs.refresh["CatalogExampleGen"].outputs["examples"]["uri"], "Split-catalog")
    records = tf.data.TFRecordDataset([str(path) for path in catalog.iterdir()], "GZIP")
    ids = {
        tf.train.Example.FromString(record).features.feature["item_id"].bytes_list.value[0].decode()
        for record in records.as_numpy_iterator()
    }
    assert len(ids) == runs.first["SoukExampleGen"].property("examples", "examples.catalog") - 1
    assert runs.gone not in ids

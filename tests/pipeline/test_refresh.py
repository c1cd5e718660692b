"""A new catalog for the model of the tiny shop's run, by the command that a user types."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import tensorflow as tf
import yaml

from pipeline.config import PipelineConfig, load
from pipeline.runs import metadata
from pipeline.runs.tables import pushed_versions
from schema import features
from tests.conftest import souk_here
from tests.pipeline.test_end_to_end import continued, states_of, summary_of

NEW, PRICE = "a-new-item", 123_456.0
LOOKUPS = {"ModelToRefresh", "LastGoodStatistics", "LastBlessedModel"}


@dataclass(frozen=True)
class Refreshed:
    """What came of one refresh with a catalog in which an item is new, one is gone, one is dearer, then of another.

    Attributes:
      config: both ran with it.
      earlier: how many runs there are before the last one of the tiny shop.
      folder: its root is `run` in it.
      rows: the new catalog's.
      gone: id of the item that was removed, `dearer` of the one whose price is now PRICE.
      first, second: what `souk refresh --json` printed.
    """

    config: PipelineConfig
    earlier: int
    folder: Path
    rows: list[dict]
    gone: str
    dearer: str
    first: dict
    second: dict

    @property
    def runs(self) -> list[metadata.Run]:
        """The last one of the tiny shop, and all after it."""
        return metadata.read_runs(self.config.metadata_path, self.config.name)[self.earlier :]


def catalog_of(config: str) -> list[dict]:
    [path] = load(config).ingest.data.catalog
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def write_catalog(folder: Path, config: str, rows: list[dict]) -> None:
    """Gives the configuration another catalog, in `folder`, and measurements that take less time."""
    path = folder / "catalog.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = yaml.safe_load(Path(config).read_text())
    settings["ingest"]["data"]["catalog"] = str(path)
    settings["gate"] |= {"bootstrap_samples": 100, "latency_requests": 10, "index_recall_requests": 50}
    settings["canary"] = {"requests": 20}
    Path(config).write_text(yaml.safe_dump(settings))


@pytest.fixture(scope="module")
def refreshed(tiny_shop, tmp_path_factory) -> Refreshed:
    folder = tmp_path_factory.mktemp("refresh")
    config = continued(tiny_shop, folder)
    first, second, *others = catalog_of(config)
    new = {**first, "item_id": NEW, "price": 1.25}
    rows = [first, *others[1:], {**others[0], "price": PRICE}, new]
    write_catalog(folder, config, rows)
    settings = load(config)
    earlier = metadata.count_runs(settings.metadata_path, settings.name) - 1
    outcomes = [json.loads(souk_here("refresh", "--config", config, "--json").stdout) for _ in range(2)]
    return Refreshed(settings, earlier, folder, rows, second["item_id"], others[0]["item_id"], *outcomes)


@pytest.fixture(scope="module")
def served(refreshed):
    """The pushed version, ready to be asked."""
    import scann  # noqa: F401

    return tf.saved_model.load(refreshed.first["pushed_to"])


def ask(served, query: str, **filters: float) -> list[str]:
    example = tf.train.Example()
    example.features.feature[features.QUERY].bytes_list.value.append(query.encode())
    for name, value in filters.items():
        example.features.feature[name].float_list.value.append(value)
    answer = served.signatures[features.SIGNATURE_DEFAULT](tf.constant([example.SerializeToString()]))
    return [item.decode() for item in answer[features.OUTPUT_ITEM_IDS].numpy()[0]]


def test_no_model_is_trained_and_the_new_catalog_is_pushed(tiny_shop, refreshed):
    run = refreshed.runs[1]
    assert refreshed.first["kind"] == run.kind == "refresh"
    assert refreshed.runs[0].kind == "run"
    assert states_of(run) == dict.fromkeys(
        ["CatalogExampleGen", "StatisticsGen", "SchemaGate", "IndexBuilder", "RecallGate", "Canary", "Pusher"], "done"
    ) | dict.fromkeys(LOOKUPS, "done")
    assert refreshed.first["blessed"]
    assert refreshed.first["canary_passed"]
    assert refreshed.first["model"] == tiny_shop.outcome["model"]
    assert int(refreshed.first["pushed_version"]) > int(tiny_shop.outcome["pushed_version"])
    build = refreshed.runs[0].step("IndexBuilder")
    assert run.step("IndexBuilder").inputs["model"] == build.inputs["model"]
    assert run.step("IndexBuilder").inputs["examples"] == build.inputs["examples"]


def test_the_push_has_new_and_changed_items_but_no_removed_one(refreshed, served):
    new = next(row for row in refreshed.rows if row["item_id"] == NEW)
    assert NEW in ask(served, new["title"])[:10]
    assert ask(served, "", **{features.FILTER_MIN_PRICE: PRICE - 1})[0] == refreshed.dearer
    everything = {item for row in refreshed.rows[::10] for item in ask(served, row["title"])}
    assert len(everything) > 100
    assert everything <= {row["item_id"] for row in refreshed.rows}
    assert refreshed.gone not in everything


def test_it_is_measured_on_its_models_requests_against_the_push(refreshed):
    first, run = refreshed.runs[:2]
    blessing = run.output("RecallGate", "blessing").properties
    assert blessing["baseline_model_id"] == first.output("IndexBuilder", "servable").id
    assert "against the blessed servable" in blessing["blessing_message"]
    samples = [
        json.loads(Path(r.output("RecallGate", "evaluation").uri, "evaluation.json").read_text())["sample"]
        for r in (first, run)
    ]
    assert samples[0]["gone"] is None
    assert 0 <= samples[1]["gone"] < 0.05
    assert samples[1]["eval_window_ms"][1] == pytest.approx(samples[0]["eval_window_ms"][1], abs=3_600_000)
    assert samples[1]["catalog_items"] == len(refreshed.rows)
    assert refreshed.first["pushed_version"] in Path(refreshed.first["report"]).read_text()


def test_a_second_refresh_is_wholly_cached_and_pushes_nothing(refreshed):
    assert refreshed.second["state"] == "cached"
    assert refreshed.second["pushed_version"] == refreshed.first["pushed_version"]
    assert {state for name, state in states_of(refreshed.runs[2]).items() if name not in LOOKUPS} == {"cached"}
    assert pushed_versions(refreshed.config.push_directory) == [refreshed.first["pushed_version"]]


def test_status_says_which_kind_each_run_was(refreshed):
    config = str(refreshed.folder / "souk.yaml")
    status = json.loads(souk_here("status", "--config", config, "--json").stdout)
    assert [run["kind"] for run in status["runs"][refreshed.earlier :][:3]] == ["run", "refresh", "refresh"]
    assert "refresh" in souk_here("status", "--config", config).stdout


def test_a_refused_refresh_pushes_nothing(refreshed):
    config = str(refreshed.folder / "souk.yaml")
    outcome = json.loads(
        souk_here("refresh", "--config", config, "--set", "gate.min_recall=1.0", "--json", expect=3).stdout
    )
    assert outcome["blessed"] is False
    assert outcome["note"].startswith("refused by the recall gate: ")
    assert states_of(refreshed.runs[-1])["IndexBuilder"] == "cached"
    assert pushed_versions(refreshed.config.push_directory) == [refreshed.first["pushed_version"]]


def test_with_the_same_catalog_there_is_nothing_to_refresh(tiny_shop, tmp_path):
    config = continued(tiny_shop, tmp_path)
    # A push into another folder would be another push.
    options = ("--set", f"serving.model_dir={tiny_shop.root}/serving/souk")
    assert "Nothing has changed" in souk_here("refresh", "--config", config, *options).stdout
    settings = load(config)
    run = metadata.read_runs(settings.metadata_path, settings.name)[-1]
    summary = summary_of(settings, run)
    assert (summary.kind, summary.state) == ("refresh", "cached")
    assert summary.push.version == tiny_shop.outcome["pushed_version"]
    assert pushed_versions(load(tiny_shop.config).push_directory) == [summary.push.version]


def test_without_a_blessed_model_a_run_must_come_first(tiny_shop, tmp_path):
    config = continued(tiny_shop, tmp_path)
    (tmp_path / "run" / "metadata.sqlite").unlink()
    refused = souk_here("refresh", "--config", config, expect=2)
    assert "no model has been blessed yet" in refused.stderr
    assert "run `souk run` first" in refused.stderr
    assert not (tmp_path / "run" / "artifacts").exists()

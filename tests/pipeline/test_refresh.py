"""A new catalog for the model of the tiny shop's run, by the command that a user types."""

import gzip
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import tensorflow as tf
import yaml

from pipeline.config import PipelineConfig, load
from pipeline.runs import metadata
from pipeline.runs.tables import pushed_versions
from schema import features
from souk_client.examples import search_example
from tests.conftest import souk_here
from tests.pipeline.test_end_to_end import continued, states_of, summary_of
from tests.serving.conftest import start_server
from tests.serving.waiting import wait_for

__all__ = ["start_server"]

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


def delta(refreshed, rows: list[dict], *options: str, expect: int = 0):
    """`souk refresh --delta` with another catalog."""
    path = refreshed.folder / "changed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = str(refreshed.folder / "souk.yaml")
    options = ("--set", f"ingest.data.catalog={path}", "--json", *options)
    result = souk_here("refresh", "--delta", "--config", config, *options, expect=expect)
    return result.stderr if expect == 2 else json.loads(result.stdout)


def test_a_delta_has_what_changed_since_the_full_index(refreshed, start_server):
    first, closed, gone, *others = refreshed.rows
    late = {**others[0], "item_id": "late", "title": "Zirconium umbrella stand", "price": 3.5}
    rows = [{**first, "title": "Quixotic gravity lamp"}, {**closed, "available": False}, *others, late, late]
    outcome = delta(refreshed, rows)
    assert outcome["state"] == "pushed"
    card = {name: outcome["card"][name] for name in ("full_version", "items", "left_out", "removed")}
    assert card == {"full_version": int(refreshed.first["pushed_version"]), "items": 2, "left_out": 3, "removed": 2}
    assert outcome["measured"] == {"index_recall": 1.0, "finite": True, "found_share": 1.0, "sampled": 2}

    # The same again is not pushed again.
    again = delta(refreshed, rows[:-1])
    assert (again["state"], again["version"]) == ("unchanged", None)

    server = start_server(Path(refreshed.config.model_directory), rest_port=-1)
    assert server.manager.wait_until_available(120)
    asked = ("--target", server.address, "--k", "100", "--json")
    wait_for(
        lambda: json.loads(souk_here("query", "x", *asked).stdout)["delta_version"] == outcome["version"], "the delta"
    )

    def found(query: str, *filters: str) -> list[str]:
        return [hit["item_id"] for hit in json.loads(souk_here("query", query, *asked, *filters).stdout)["hits"]]

    assert found("zirconium umbrella stand")[0] == "late"
    assert found("quixotic gravity lamp")[0] == first["item_id"]
    assert "late" in found("stand", "--max-price", "3.6")
    assert "late" not in found("zirconium umbrella stand", "--min-price", "3.6")
    for row in (closed, gone):
        assert row["item_id"] not in found(row["title"])
    assert found(first["title"]).count(first["item_id"]) <= 1

    # What is as it was when the full index was built needs no delta; the one that is there is emptied.
    empty = delta(refreshed, refreshed.rows)
    assert (empty["state"], empty["card"]["items"], empty["card"]["left_out"]) == ("pushed", 0, 0)
    assert delta(refreshed, refreshed.rows)["state"] == "unchanged"


def test_what_a_delta_is_not_for_is_refused(refreshed, tmp_path):
    half = refreshed.rows[: len(refreshed.rows) // 2]
    assert "run `souk refresh`" in delta(refreshed, half, expect=2)
    columns = ("--set", "ingest.data.catalog_columns.numeric=[popularity]")
    assert "a delta cannot add a column. Run `souk run`" in delta(refreshed, refreshed.rows, *columns, expect=2)
    elsewhere = ("--set", f"serving.model_dir={tmp_path}/none")
    assert "nothing is pushed yet" in delta(refreshed, refreshed.rows, *elsewhere, expect=2)
    (tmp_path / "copied" / "7").mkdir(parents=True)
    copied = ("--set", f"serving.model_dir={tmp_path}/copied")
    assert "was not pushed by a run or refresh" in delta(refreshed, refreshed.rows, *copied, expect=2)


def test_exported_vectors_rank_as_the_served_index(refreshed, served, tmp_path):
    config = str(refreshed.folder / "souk.yaml")
    export = ("export", "vectors", "--to", "parquet", "--config", config, "--out")
    told = souk_here(*export, str(tmp_path / "out")).stdout
    table = parquet.read_table(tmp_path / "out" / "vectors.parquet").to_pydict()
    assert f"Wrote {len(table['item_id'])} items of version {refreshed.first['pushed_version']}" in told
    assert set(table["item_id"]) <= {row["item_id"] for row in refreshed.rows}
    example = tf.constant([search_example(refreshed.rows[0]["title"], retrieval="dense")])
    answer = served.signatures[features.SIGNATURE_DEFAULT](example)
    [heads] = served.signatures[features.SIGNATURE_ENCODE_QUERY](example)[features.OUTPUT_VECTORS].numpy()
    scores = (heads @ np.array(table["vector"], np.float32).T).max(axis=0)
    best = np.argsort(-scores)[:10]
    np.testing.assert_allclose(scores[best], answer[features.OUTPUT_SCORES].numpy()[0, :10], atol=1e-4)
    assert table["item_id"][best[0]].encode() == answer[features.OUTPUT_ITEM_IDS].numpy()[0, 0]
    assert "is not empty" in souk_here(*export, str(tmp_path / "out"), expect=2).stderr


def test_with_the_same_catalog_there_is_nothing_to_refresh(tiny_shop, tmp_path):
    config = continued(tiny_shop, tmp_path, pushed=True)
    assert "Nothing has changed" in souk_here("refresh", "--config", config).stdout
    settings = load(config)
    run = metadata.read_runs(settings.metadata_path, settings.name)[-1]
    summary = summary_of(settings, run)
    assert (summary.kind, summary.state) == ("refresh", "cached")
    assert summary.push.version == tiny_shop.outcome["pushed_version"]
    assert pushed_versions(settings.push_directory) == [summary.push.version]


def test_without_a_blessed_model_a_run_must_come_first(tiny_shop, tmp_path):
    config = continued(tiny_shop, tmp_path)
    shutil.rmtree(tmp_path / "run")
    refused = souk_here("refresh", "--config", config, expect=2)
    assert "no model has been blessed yet" in refused.stderr
    assert "run `souk run` first" in refused.stderr
    assert not (tmp_path / "run" / "artifacts").exists()

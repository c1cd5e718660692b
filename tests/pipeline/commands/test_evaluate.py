import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline

from pipeline import config as pipeline_config
from pipeline import local_runner
from pipeline.cli import main
from tests.evaluation.word_servable import save_word_servable
from tests.pipeline.steps import CopyServable, Write

CATALOG = """{"item_id": "a", "title": "red running shoes"}
{"item_id": "b", "title": "blue shoes"}
{"item_id": "c", "title": "desk lamp"}
"""
JUDGMENTS = """["red shoes", "a", "E"]
["red shoes", "b", "S"]
["lamp", "c", "E"]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "catalog.jsonl").write_text(CATALOG)
    (folder / "judgments.jsonl").write_text(JUDGMENTS)
    (folder / "qrels.txt").write_text("1 0 a 1\n2 0 c 2\n")
    (folder / "queries.tsv").write_text("1\tred shoes\n2\tlamp\n")
    save_word_servable(folder / "models" / "1", ["a", "b", "c"], ["red running shoes", "blue shoes", "desk lamp"], k=2)
    return folder


def run(shop, *arguments):
    return CliRunner().invoke(main, ["evaluate", *(argument.format(shop=shop) for argument in arguments)])


BASICS = ("--judgments", "{shop}/judgments.jsonl", "--catalog", "{shop}/catalog.jsonl")


def test_json_holds_recall_beside_bm25(shop):
    result = run(shop, *BASICS, "--model-dir", "{shop}/models", "--ks", "1,2,3", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    systems = {system["key"]: system for system in found["systems"]}
    assert found["servable"].endswith("models/1")
    assert systems["served"]["metrics"]["recall@1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["grades"] == {"E": 2, "S": 1}
    assert systems["fused"]["metrics"]["recall@1"]["value"] == 1.0
    assert systems["served"]["judged"]["judged@1"]["value"] == 1.0
    assert set(systems["exact"]["metrics"]) == {f"{m}@{k}" for m in ("recall", "ndcg") for k in (1, 2, 3)}
    assert systems["bm25"]["metrics"]["recall@2"]["value"] == 1.0


def test_the_table_names_systems_ks_and_the_missing_depth(shop):
    result = run(shop, *BASICS, "--servable", "{shop}/models/1", "--ks", "1,3")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    for expected in (
        "As served",
        "Exact search",
        "BM25",
        "Candidate + BM25",
        "@1",
        "@3",
        "E items",
        "without the hits that nobody has judged",
        "2 of grade E, 1 of grade S",
        "The model answers 2 items",
    ):
        assert expected in text
    assert "asking it 2 queries" in result.stderr
    assert "asking" not in result.stdout


def test_qrels_are_measured_too(shop):
    arguments = (
        "--judgments",
        "{shop}/qrels.txt",
        "--queries",
        "{shop}/queries.tsv",
        "--catalog",
        "{shop}/catalog.jsonl",
    )
    result = run(shop, *arguments, "--model-dir", "{shop}/models", "--ks", "1", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["right_name"] == "items of grade 1 or more"


def test_quepids_ratings_are_measured_from_the_grade_asked_for(shop):
    (shop / "case.csv").write_text("query,docid,rating\nred shoes,a,3\nred shoes,b,1\nlamp,c,2\n")
    arguments = ("--judgments", "{shop}/case.csv", *BASICS[2:], "--servable", "{shop}/models/1", "--ks", "1", "--json")
    for relevant_from, right in (((), 3), (("--relevant-from", "2"), 2)):
        result = run(shop, *arguments, *relevant_from)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["right"] == right


@pytest.fixture(scope="module")
def pipeline_of_three_runs(shop, tmp_path_factory):
    """A configuration whose root has a run with a servable, one without, and one whose servable was removed."""
    folder = tmp_path_factory.mktemp("runs")
    data = {"events": "none", "catalog": f"{shop}/catalog.jsonl"}
    (folder / "shop.yaml").write_text(json.dumps({"name": "x", "root": f"{folder}/root", "ingest": {"data": data}}))
    config = pipeline_config.load(str(folder / "shop.yaml"))
    Path(config.root).mkdir()
    for kind in ("built", "without", "removed"):
        step = Write(text=kind) if kind == "without" else CopyServable(source=f"{shop}/models/1")
        dag = Pipeline(
            pipeline_name=config.name,
            pipeline_root=config.artifacts_root,
            components=[step if kind == "without" else step.with_id("IndexBuilder")],
            metadata_connection_config=metadata.sqlite_metadata_connection_config(config.metadata_path),
        )
        local_runner.run_dag(dag, folder / "run.log")
    newest = max(Path(config.artifacts_root, "IndexBuilder", "servable").iterdir(), key=lambda path: int(path.name))
    shutil.rmtree(newest)
    return folder / "shop.yaml"


def test_a_run_stands_for_its_servable(shop, pipeline_of_three_runs):
    arguments = (*BASICS[:2], "--config", str(pipeline_of_three_runs), "--ks", "1", "--json")
    result = run(shop, *arguments, "--run", "1")
    assert result.exit_code == 0, result.output
    assert "IndexBuilder/servable/" in json.loads(result.stdout)["servable"]


def test_a_run_without_a_servable_is_named(shop, pipeline_of_three_runs):
    arguments = (*BASICS[:2], "--config", str(pipeline_of_three_runs), "--run")
    for number, message in (
        ("2", "run 2 built no servable"),
        ("3", "the servable of run 3 is no longer at"),
        ("4", "there is no run 4; the newest is 3"),
    ):
        result = run(shop, *arguments, number)
        assert result.exit_code == 2
        assert message in result.stderr


def test_quick_checks_come_before_tensorflow_is_loaded(shop, tmp_path):
    (tmp_path / "judgments.jsonl").write_text('["lamp", "of another shop", "E"]')
    arguments = ["evaluate", "--judgments", str(tmp_path / "judgments.jsonl")]
    arguments += ["--catalog", f"{shop}/catalog.jsonl", "--model-dir", "none"]
    program = f"""
import sys
from click.testing import CliRunner
from pipeline.cli import main
print(CliRunner().invoke(main, {arguments}).output, "tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "none of the judged items is in the catalog: 'of another shop'" in done.stdout
    assert done.stdout.split()[-1] == "False"


def test_a_configuration_names_the_catalog_columns_to_read(shop, tmp_path):
    rows = [{"sku": row["item_id"], "name": "x", "text": row["title"]} for row in map(json.loads, CATALOG.splitlines())]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = {"catalog": {"item_id": "sku", "title": "name"}}
    data = {"events": "none", "catalog": "items.jsonl", "catalog_columns": {"text": ["text"]}, "columns": names}
    config = {"name": "x", "root": "runs", "ingest": {"data": data}, "serving": {"model_dir": f"{shop}/models"}}
    (tmp_path / "shop.yaml").write_text(json.dumps(config))
    arguments = (
        "--judgments",
        "{shop}/judgments.jsonl",
        "--config",
        str(tmp_path / "shop.yaml"),
        "--ks",
        "1",
        "--json",
    )
    for given in ((), ("--catalog", str(tmp_path / "items.jsonl"), "--servable", "{shop}/models/1")):
        result = run(shop, *arguments, *given)
        assert result.exit_code == 0, result.output
        systems = {system["key"]: system for system in json.loads(result.stdout)["systems"]}
        # Titles are all the same, so the words of the further column alone tell items apart.
        assert systems["bm25"]["metrics"]["recall@1"]["value"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (BASICS, "give one of --model-dir"),
        ((*BASICS, "--run", "1"), "--run 1 is a run of a pipeline; give its configuration with --config"),
        ((*BASICS, "--run", "1", "--servable", "y"), "got --servable and --run; give one of"),
        ((*BASICS, "--servable", "y", "--relevant-from", "3"), "the grades are ESCI's; give E, S or C"),
        ((*BASICS[:2], "--servable", "{shop}/models/1"), "give --catalog (the file) or --config"),
        ((*BASICS, "--model-dir", "x", "--servable", "y"), "got --model-dir and --servable; give one of"),
        ((*BASICS, "--model-dir", "{shop}", "--ks", "0"), "each k must be 1 or more"),
        ((*BASICS, "--model-dir", "{shop}", "--ks", "ten"), "is not a list of whole numbers"),
        ((*BASICS, "--model-dir", "{shop}/none"), "there is no folder"),
        ((*BASICS, "--servable", "{shop}"), "holds no `saved_model.pb`"),
        (("--judgments", "none", "--catalog", "none", "--servable", "none"), "there is no judgments file none"),
        ((*BASICS[:2], "--catalog", "none.jsonl", "--servable", "none"), "no file matches 'none.jsonl'"),
    ],
)
def test_bad_input_ends_with_one_message_and_code_2(shop, arguments, message):
    result = run(shop, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output

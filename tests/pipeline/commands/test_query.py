import json
import subprocess
import sys

import polars as pl
import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.commands.query import Sources, configured
from serving.config import ServingConfig
from serving.server.server import start
from tests.serving import tiny_retriever


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    tiny_retriever.push(base, 1)
    server = start(ServingConfig(model_dir=str(base), port=0, poll_interval_s=60))
    assert server.manager.wait_until_available(60)
    yield server.address
    server.stop(grace=1)


@pytest.fixture
def catalog(tmp_path):
    ids = tiny_retriever.item_ids(1)
    rows = [{"item_id": i, "title": f"[{t}]", "price": 9.5} for i, t in zip(ids, tiny_retriever.TITLES, strict=True)]
    pl.DataFrame(rows).write_ndjson(tmp_path / "catalog.jsonl")
    return tmp_path / "catalog.jsonl"


@pytest.fixture
def user_state(tmp_path):
    states = {"user_id": ["u1", "u2"], "history_queries": [["black lamp"], []]}
    pl.DataFrame(states).write_parquet(tmp_path / "user_state.parquet")
    return tmp_path / "user_state.parquet"


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["query", *map(str, arguments)])


def test_the_answer_is_a_table_that_a_person_can_read(target, catalog):
    result = ask("blue kettle", "--target", target, "--catalog", catalog, "--k", 3)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].strip() == "blue kettle  (model version 1)"
    row = next(line for line in lines if "│    1 │" in line)
    best = tiny_retriever.TITLES.index("blue kettle")
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "1",
        f"v1-{best}",
        "[blue kettle]",
        "",
        "9.5",
        "1.0000",
    ]
    assert "│    3 │" in result.stdout
    assert "│    4 │" not in result.stdout


def test_a_program_gets_the_same_as_json(target, catalog):
    answer = json.loads(ask("crème lamp", "--target", target, "--catalog", catalog, "--json").stdout)
    assert answer.keys() == {
        "query",
        "user",
        "personalized",
        "user_state",
        "model_version",
        "relevance_control",
        "missing_shards",
        "delta_version",
        "hits",
    }
    assert (answer["query"], answer["user"], answer["model_version"]) == ("crème lamp", None, 1)
    assert [hit["rank"] for hit in answer["hits"]] == list(range(1, 11))
    first = answer["hits"][0]
    assert (first["title"], first["brand"], first["price"]) == ("[crème lamp]", None, "9.5")


def test_relevance_control_is_asked_for_and_its_doing_said(target):
    result = ask("blue kettle", "--target", target, "--relevance-control")
    assert "only items of the brands and categories that the query names" in " ".join(result.stdout.split())
    plain, left = (
        json.loads(ask("blue kettle", "--target", target, "--json", option).stdout)
        for option in ("--no-relevance-control", "--relevance-control")
    )
    assert (plain["relevance_control"], left["relevance_control"]) == ("off", "applied")
    assert len(left["hits"]) < len(plain["hits"])


def test_filters_and_token_reach_a_server_that_asks_for_one(tmp_path):
    base, token = tmp_path / "models", tmp_path / "token"
    tiny_retriever.push(base, 1)
    token.write_text("secret-of-at-least-this-length\n")
    config = ServingConfig(model_dir=str(base), port=0, poll_interval_s=60, auth_token_file=str(token))
    server = start(config)
    try:
        assert server.manager.wait_until_available(60)
        arguments = ("red", "--target", server.address, "--brand", "Nord", "--max-price", 5, "--exclude", "v1-0")
        refused = ask(*arguments)
        assert (refused.exit_code, "UNAUTHENTICATED" in refused.stderr or "token" in refused.stderr) == (2, True)
        assert ask(*arguments, "--token-file", token).exit_code == 0
    finally:
        server.stop(grace=1)


def test_what_the_user_did_changes_the_answer(target, user_state):
    def answer(user: str) -> dict:
        result = ask("shirt", "--target", target, "--user", user, "--user-state", user_state, "--json")
        return json.loads(result.stdout)

    with_history, without = answer("u1"), answer("u2")
    assert [hit["item_id"] for hit in with_history["hits"]] != [hit["item_id"] for hit in without["hits"]]
    assert (with_history["personalized"], without["personalized"]) == (True, False)


def test_a_user_never_seen_is_answered_as_nobody_and_told_so(target, user_state):
    result = ask("shirt", "--target", target, "--user", "u9", "--user-state", user_state, "--json")
    anonymous = ask("shirt", "--target", target, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["hits"] == json.loads(anonymous.stdout)["hits"]
    assert result.stderr == f"note: nothing is known of u9 in {user_state}, so the answer is not personalized\n"


def test_a_user_without_a_user_state_file_is_told_so(target):
    result = ask("shirt", "--target", target, "--user", "u1")
    assert result.exit_code == 0
    assert result.stderr == "note: no user states are given or found, so nothing is known of what u1 did before\n"


def test_more_than_the_model_returns_is_noted(target):
    result = ask("shirt", "--target", target, "--k", 50)
    assert result.stderr == "note: the served model returns at most 10 items, so 50 cannot be shown\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "The query is empty"),
        (["red", "--k", "0"], "at least 1, got 0"),
        (["red", "--timeout", "0"], "more than 0 seconds"),
        (["red", "--user", "u1", "--user-state", "/no/such/file"], "There is no user state file /no/such/file"),
        (["red", "--catalog", "/no/such/file.csv"], "There is no catalog file /no/such/file.csv"),
        (["red", "--name", "bazaar"], "Servable not found for request: Latest(bazaar)"),
        (["red", "--config", "/no/such/file"], "/no/such/file does not exist"),
        (["red", "--target", "127.0.0.1:1"], "No server answers at 127.0.0.1:1"),
        (["red", "--min-price", "5", "--max-price", "2"], "the least price 5 is above the most, 2"),
        (["red", "--brand", ""], "brands"),
        (["red", "--where", "color"], "'color' is no filter: give COLUMN=VALUE"),
        (["red", "--token-file", "/no/such/token"], "/no/such/token cannot be read"),
        (["red", "--ca", "/no/such/ca.pem"], "Check the path given with --ca"),
    ],
)
def test_bad_input_gets_one_message_and_code_2(target, arguments, message):
    result = ask("--target", target, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_a_configuration_names_server_user_states_and_catalog(tmp_path):
    for number in (1, 12, 3):
        state = tmp_path / f"run/artifacts/SoukExampleGen/examples/{number}/user_state.parquet"
        state.parent.mkdir(parents=True)
        state.touch()
    for name in ("c1.csv", "c2.csv"):
        (tmp_path / name).touch()
    config = tmp_path / "souk.yaml"
    config.write_text(
        "root: run\n"
        "ingest: {data: {events: e.jsonl, catalog: 'c*.csv'}}\n"
        "serving: {host: 0.0.0.0, port: 9000, model_name: shop}\n"
    )
    assert configured(str(config)) == Sources(
        target="127.0.0.1:9000",
        name="shop",
        user_state=str(tmp_path / "run/artifacts/SoukExampleGen/examples/12/user_state.parquet"),
        catalog=(tmp_path / "c1.csv", tmp_path / "c2.csv"),
    )


def test_a_column_the_configuration_does_not_name_is_refused(tmp_path):
    config = tmp_path / "souk.yaml"
    columns = "{categorical: color, numeric: rating, text: story}"
    config.write_text(f"ingest: {{data: {{events: e.jsonl, catalog: c.csv, catalog_columns: {columns}}}}}")
    result = ask("--config", config, "red", "--where", "colour=red", "--where", "rating>=4")
    assert result.exit_code == 2
    assert "names no categorical or numeric column colour, so the model cannot filter by it" in result.stderr
    assert "it names color, rating" in result.stderr


def test_a_configuration_knows_no_user_state_before_any_run(tmp_path):
    config = tmp_path / "souk.yaml"
    config.write_text("ingest: {data: {events: e.jsonl, catalog: c.csv}}")
    assert (configured(str(config)).user_state, configured(str(config)).catalog) == (None, ())


def test_a_query_imports_neither_tensorflow_nor_tfx(target, catalog, user_state):
    code = f"""
import sys
from click.testing import CliRunner
from pipeline.cli import main
arguments = ["query", "red", "--target", {target!r}, "--user", "u1",
             "--user-state", {str(user_state)!r}, "--catalog", {str(catalog)!r}]
result = CliRunner().invoke(main, arguments)
assert result.exit_code == 0, result.output
print([name for name in ("tensorflow", "tfx", "tensorflow_serving", "apache_beam", "scann") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_store_that_does_not_answer_is_told_and_the_query_answered(target):
    arguments = ("--target", target, "--user", "u1", "--user-state", "redis://u:secret@127.0.0.1:1/0", "--json")
    result = ask("shirt", *arguments)
    answer = json.loads(result.stdout)
    assert (answer["user_state"], answer["personalized"], len(answer["hits"])) == ("unavailable", False, 10)
    assert result.stderr == "note: redis://127.0.0.1:1/0 cannot be read now, so the answer is not personalized\n"

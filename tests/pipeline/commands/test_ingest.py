import json
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from tests.components.example_gen.small_shop import make_shop, write_shop

FILES = "{data: {events: gone.jsonl, catalog: gone.csv}}"
FAR = "{runner: flink, job_endpoint: 'flink.example:8099', worker: {type: process, command: /souk}}"


@pytest.fixture
def section(tmp_path):
    """A file with the section `ingest` alone, its input paths relative to it."""
    config = json.loads(write_shop(tmp_path / "in", make_shop(40)).to_json())
    for name in ("events", "catalog", "users"):
        config["data"][name] = [path.removeprefix(f"{tmp_path}/") for path in config["data"][name]]
    path = tmp_path / "souk.yaml"
    path.write_text(yaml.safe_dump({"ingest": config}))
    return path


def _run(*args: object):
    return CliRunner().invoke(main, ["ingest", *map(str, args)])


def test_json_goes_to_standard_output_alone(section) -> None:
    result = _run("--config", section, "--out", section.parent / "out", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["counters"]["examples.catalog"] == 30
    assert (section.parent / "out" / "Split-train").is_dir()


def test_a_person_gets_a_table_with_the_reasons(section) -> None:
    result = _run("--config", section, "--out", section.parent / "out")
    assert result.exit_code == 0, result.output
    assert "events.dropped.unknown_item" in result.stdout
    assert "2026-04-18T00:00:00Z" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ingest: {data: {events: gone.jsonl, catalog: gone.csv}}", "no file matches"),
        ("ingest: {data: {catalog: c.csv}, evil_days: 3}", "did you mean `eval_days`"),
        ("ingest: [", "is not YAML"),
        (f"ingest: {FILES}\nbeam: {{runner: flink}}", "either `job_endpoint` or `master` must say where it is"),
        (f"ingest: {FILES}\nbeam: {FAR}", "out, a path on this machine, and `beam.runner` is flink"),
    ],
)
def test_bad_input_is_one_message_and_code_2(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "souk.yaml"
    path.write_text(text)
    result = _run("--config", path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_neither_tensorflow_nor_tfx_nor_its_metadata_is_imported(section) -> None:
    program = (
        "import sys; from pipeline.cli import main\n"
        f"main(['ingest', '--config', {str(section)!r}, '--out', {str(section.parent / 'out')!r}, '--json'], "
        "standalone_mode=False)\n"
        "heavy = {'tensorflow', 'tfx', 'ml_metadata'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr

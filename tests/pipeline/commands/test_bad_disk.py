"""Commands on a disk that is full or not permitted end with a sentence and the exit code of `docs/runs.md`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main

CASE = Path(__file__).parents[3] / ".." / "shared" / "cases" / "os_errors"
DENIED = "Permission denied; give this user the permission, or give another path"
# All in one process, which loads Beam once: prints the code and the standard error of each command.
COMMANDS = """
import json, sys
from click.testing import CliRunner
from pipeline.cli import main
results = [CliRunner().invoke(main, arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps([(result.exit_code, result.stderr) for result in results]))
"""


def _outcomes(commands, prefix=()) -> list[tuple[int, str]]:
    """How commands end for a user who is not root, and what they say last; `prefix` is run in a mount namespace."""
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root may read and write everything, and there is no setpriv to take that away")
        prefix = (*prefix, "setpriv", "--inh-caps=-all", "--bounding-set=-all")
    arguments = [list(map(str, command)) for command in commands]
    done = subprocess.run(
        [*prefix, sys.executable, "-c", COMMANDS, json.dumps(arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for _, text in found:
        assert "Traceback" not in text
    return [(code, text.strip().splitlines()[-1]) for code, text in found]


@pytest.fixture
def shop(tmp_path):
    """A copy of the case in a folder that may be written to."""
    if not CASE.is_dir():
        pytest.skip("the case is not at ../shared/cases/os_errors")
    return _copy(tmp_path / "shop")


def _copy(folder: Path) -> Path:
    folder.mkdir()
    for path in CASE.iterdir():
        shutil.copyfile(path, folder / path.name)
    return folder


def test_paths_without_permission_are_bad_input(shop) -> None:
    for name, file in (("config", "shop.yaml"), ("catalog", "catalog.jsonl"), ("events", "events.jsonl")):
        (_copy(shop / name) / file).chmod(0)
    (shop / "closed").mkdir(mode=0o555)
    outcomes = _outcomes(
        [
            ("ingest", "--config", shop / "catalog" / "shop.yaml", "--out", shop / "out"),
            ("ingest", "--config", shop / "events" / "shop.yaml", "--out", shop / "out"),
            ("ingest", "--config", shop / "shop.yaml", "--out", shop / "closed" / "out"),
            ("simulate", "--preset", "tiny", "--out", shop / "closed" / "out"),
            *(
                (*command, "--config", shop / "config" / "shop.yaml")
                for command in (("ingest", "--out", shop / "out"), ("run",), ("status",), ("report",), ("serve",))
            ),
            ("schema", "--config", shop / "config" / "shop.yaml", "--out", shop / "out"),
            ("evaluate", "--config", shop / "config" / "shop.yaml", "--judgments", shop / "catalog.jsonl"),
        ]
    )
    assert outcomes[:4] == [
        (2, f"Error: {shop}/catalog/catalog.jsonl: {DENIED}"),
        (2, f"Error: {shop}/events/events.jsonl: {DENIED}"),
        (2, f"Error: {shop}/closed/out: {DENIED}"),
        (2, f"Error: {shop}/closed/out: {DENIED}"),
    ]
    assert set(outcomes[4:]) == {(2, f"Error: {shop}/config/shop.yaml: {DENIED}")}


def test_a_full_disk_is_a_failure_with_its_path(shop, tmp_path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=24k tmpfs {disk}"
    alone = ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")
    if os.geteuid() or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    outcomes = _outcomes(
        [
            ("ingest", "--config", shop / "shop.yaml", "--out", disk / "examples"),
            ("simulate", "--preset", "tiny", "--out", disk / "shop"),
        ],
        alone,
    )
    full = "No space left on device; free some space, or give a path on another disk"
    assert outcomes == [(1, f"Error: {disk}/{name}: {full}") for name in ("examples", "shop")]


def test_a_file_in_the_place_of_a_folder_is_bad_input(tmp_path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["simulate", "--preset", "tiny", "--out", str(tmp_path / "file" / "out")])
    assert result.exit_code == 2
    assert result.stderr.strip() == f"Error: {tmp_path}/file: File exists; give another path"

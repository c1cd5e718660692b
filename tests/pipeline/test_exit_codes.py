import re
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from pipeline import cli
from pipeline.exit_codes import ExitCode, code_of
from pipeline.run_lock import BusyError
from schema.file_errors import StorageError
from schema.settings import DataError, InputError
from tests.dockerfiles import dockerfile
from tests.serving.deployment import kubernetes_fields

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "runs.md").read_text()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("no such key"), ExitCode.BAD_INPUT),
        (DataError("half of the rows have no query"), ExitCode.BAD_DATA),
        (BusyError("another run is at work"), ExitCode.BUSY),
        (StorageError("out: No space left on device"), ExitCode.FAILED),
    ],
)
def test_an_error_ends_a_command_with_its_message_and_code(monkeypatch, error, code):
    @click.command()
    def refuse() -> None:
        raise error

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: refuse)
    result = CliRunner().invoke(cli.main, ["run"])
    assert (result.exit_code, result.stderr) == (code, f"Error: {error}\n")
    assert code_of(error) is code


def test_an_interrupted_command_says_so_and_is_no_failure(monkeypatch):
    @click.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: interrupted)
    result = CliRunner().invoke(cli.main, ["query"])
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


def test_the_codes_are_those_that_shells_and_schedulers_know():
    assert [code.value for code in ExitCode] == [0, 1, 2, 3, 4, 75, 130]


def test_the_page_has_every_code_by_its_number_and_name():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert rows == [(str(code.value), code.name) for code in ExitCode]


def test_the_cron_job_on_the_page_retries_only_what_may_succeed():
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    job = yaml.safe_load(text)
    assert kubernetes_fields.problems(job, kubernetes_fields.model_of(job)) == []
    spec = job["spec"]["jobTemplate"]["spec"]
    [gives_up, _] = spec["podFailurePolicy"]["rules"]
    assert gives_up["onExitCodes"]["values"] == [ExitCode.BAD_INPUT, ExitCode.REFUSED, ExitCode.BAD_DATA]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    assert gives_up["onExitCodes"]["containerName"] == container["name"]
    # Kubernetes takes a failure policy of pods that it does not start again by itself alone.
    assert pod["restartPolicy"] == "Never"
    [user] = {entry.value for entry in dockerfile((ROOT / "Dockerfile").read_text()) if entry.name == "USER"}
    assert user.endswith(f":{pod['securityContext']['fsGroup']}")
    assert container["command"][1] in cli.COMMANDS

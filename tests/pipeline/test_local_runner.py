import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import local_runner
from pipeline.runs import metadata
from schema.settings import InputError
from tests.pipeline.steps import two_steps


@pytest.fixture
def run(tmp_path):
    def run_two_steps(behavior: str = "", text: str = "hello") -> metadata.Run:
        local_runner.clear_up(f"{tmp_path}/metadata.sqlite", f"{tmp_path}/artifacts")
        local_runner.run_dag(two_steps(str(tmp_path), behavior, text), tmp_path / "run.log")
        return last_run(tmp_path)

    return run_two_steps


def last_run(root: Path) -> metadata.Run:
    return metadata.read_runs(f"{root}/metadata.sqlite", "two")[-1]


def states(run: metadata.Run) -> dict[str, str]:
    return {step.name: step.state for step in run.steps}


def test_a_run_records_its_steps_in_order_with_their_artifacts(run):
    first = run()
    assert [step.name for step in first.steps] == ["Write", "Read"]
    assert first.state == "done"
    assert first.number == 1
    assert Path(first.output("Read", "read").uri).read_text() == "HELLO"
    assert first.step("Read").inputs["written"] == first.step("Write").outputs["written"]
    assert first.output("Write", "nothing") is None
    assert first.step("Train") is None


def test_only_unchanged_steps_come_from_cache(run):
    first = run()
    again = run()
    assert states(again) == {"Write": "cached", "Read": "cached"}
    assert again.state == "cached"
    assert again.output("Read", "read") == first.output("Read", "read")
    assert states(run(text="other")) == {"Write": "done", "Read": "done"}
    assert states(run(behavior="ok")) == {"Write": "cached", "Read": "done"}


def test_a_failed_step_is_named_with_its_reason_and_the_log(run, tmp_path):
    with pytest.raises(local_runner.StepFailedError) as failure:
        run("fail")
    assert failure.value.step == "Read"
    assert failure.value.reason == "the tower fell over\nand hit the ground"
    assert str(tmp_path / "run.log") in str(failure.value)
    assert "Traceback" in (tmp_path / "run.log").read_text()
    failed = last_run(tmp_path)
    assert states(failed) == {"Write": "done", "Read": "failed"}
    assert failed.step("Read").failure == "the tower fell over\nand hit the ground"
    assert failed.state == "failed"
    assert states(run()) == {"Write": "cached", "Read": "done"}


@pytest.mark.parametrize(
    ("behavior", "message"),
    [
        ("refuse", "the price -3 is negative; mend the catalog"),
        ("refuse in a Beam worker", "row 7 is not a row; mend the file"),
        ("read a path that is gone", "gone.jsonl: No such file or directory; check the path"),
    ],
)
def test_bad_input_found_by_a_step_stays_an_input_error(run, behavior, message):
    with pytest.raises(InputError) as error:
        run(behavior)
    assert str(error.value) == message


def test_a_full_disk_fails_the_step_in_one_sentence(run, tmp_path):
    with pytest.raises(local_runner.StepFailedError) as failure:
        run("fill the disk in a Beam worker")
    full = f"{tmp_path}/artifacts: No space left on device; free some space, or give a path on another disk"
    assert (failure.value.step, failure.value.reason) == ("Read", full)
    assert last_run(tmp_path).step("Read").failure == full


def test_the_screen_shows_a_line_per_step_and_the_log_the_rest(run, tmp_path, capfd):
    run()
    shown = capfd.readouterr()
    assert shown.out == ""
    assert [line.split()[:3] for line in shown.err.splitlines()] == [["✓", "Write", "done"], ["✓", "Read", "done"]]
    assert "chatter of hello" in (tmp_path / "run.log").read_text()


def test_a_run_killed_in_a_step_is_cleared_up_and_continued(run, tmp_path):
    program = (
        "from pathlib import Path; from pipeline import local_runner; from tests.pipeline.steps import two_steps; "
        f"local_runner.run_dag(two_steps({str(tmp_path)!r}, 'be killed once'), Path({str(tmp_path / 'x.log')!r}))"
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert killed.returncode == -9
    left = last_run(tmp_path)
    assert states(left) == {"Write": "done", "Read": "running"}
    half_written = list((tmp_path / "artifacts" / "Read" / "read").iterdir())
    assert len(half_written) == 1

    finished = run("be killed once")
    assert states(finished) == {"Write": "cached", "Read": "done"}
    assert Path(finished.output("Read", "read").uri).read_text() == "HELLO"
    assert not half_written[0].exists()
    first, second = metadata.read_runs(f"{tmp_path}/metadata.sqlite", "two")
    assert states(first) == {"Write": "done", "Read": "cancelled"}
    assert second == finished


def test_an_interrupted_step_is_cancelled_and_not_failed(run, tmp_path, capfd):
    with pytest.raises(KeyboardInterrupt):
        run("be interrupted")
    assert "- Read cancelled" in capfd.readouterr().err
    run()
    interrupted, finished = metadata.read_runs(f"{tmp_path}/metadata.sqlite", "two")
    assert states(interrupted) == {"Write": "done", "Read": "cancelled"}
    assert interrupted.step("Read").failure == ""
    assert states(finished) == {"Write": "cached", "Read": "done"}


def test_a_missing_store_holds_no_runs_and_is_not_made(tmp_path):
    path = tmp_path / "metadata.sqlite"
    assert metadata.read_runs(str(path), "two") == []
    assert metadata.cancel_unfinished(str(path)) == []
    assert not path.exists()

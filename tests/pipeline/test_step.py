import json
import subprocess
import sys

from pipeline.step import clear_outputs
from tests.clean_environment import REPOSITORY


def test_only_a_steps_outputs_and_temporary_files_are_cleared(tmp_path):
    for name in ("input", "output", "other", ".temp"):
        (tmp_path / name / "Split-train" / "beam-temp").mkdir(parents=True)
    message = {
        "inputs": {"artifacts": {"examples": {"artifacts": [{"uri": str(tmp_path / "input")}]}}},
        "outputs": {
            "artifacts": {
                "model": {"artifacts": [{"uri": str(tmp_path / "output")}]},
                "new": {"artifacts": [{"uri": str(tmp_path / "new")}]},
            },
            "outputFile": str(tmp_path / "executor_output.json"),
        },
    }
    clear_outputs(json.dumps(message))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input", "other"]


def test_bad_input_ends_a_step_with_its_message_and_code_2(tmp_path):
    parameters = {"config_json": '{"data": {"events": "e", "catalog": "c"}}', "fingerprint": "", "date": "tomorrow"}
    schema = {"instanceSchema": "title: tfx.Examples\ntype: object\n"}
    message = {
        "inputs": {"parameterValues": parameters},
        "outputs": {
            "artifacts": {"examples": {"artifacts": [{"uri": str(tmp_path / "out"), "type": schema}]}},
            "outputFile": str(tmp_path / "output.json"),
        },
    }
    arguments = {
        "--executor_class_path": "components.example_gen.component.SoukExampleGen_Executor",
        "--json_serialized_invocation_args": json.dumps(message),
        "--json_serialized_inputs_spec_args": "{}",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "pipeline.step", *(part for pair in arguments.items() for part in pair)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "Error: config_json with the overrides 'date=tomorrow'" in ended.stderr
    assert "neither a day such as 2026-03-01" in ended.stderr.splitlines()[-1]

"""The runbook's reload and its canary, step by step, against a running `souk serve`."""

import json
import re
import urllib.request
from pathlib import Path

import grpc
import pytest

from tests.serving import tiny_retriever
from tests.serving.deployment.files import CONFIGS, ROOT
from tests.serving.waiting import wait_for

CANARY = (CONFIGS / "models.canary.config").read_text()
LABEL = r"    version_labels .*\n"


def reload(target: str, text: str, folder: Path) -> None:
    """Runs the page's program on a models.config."""
    file = folder / "models.config"
    file.write_text(text.replace('"/models/', f'"{folder}/'))
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "deployment.md").read_text(), re.DOTALL)
    for found, here in {'"models.config"': repr(str(file)), '"localhost:8500"': repr(target)}.items():
        assert found in program
        program = program.replace(found, here)
    exec(program, {})


def versions(rest: str) -> list[str]:
    with urllib.request.urlopen(f"http://{rest}/v1/models/souk", timeout=10) as answer:
        states = json.load(answer)["model_version_status"]
    return sorted(state["version"] for state in states if state["state"] == "AVAILABLE")


def answering(rest: str, label: str) -> str:
    """The version that answers callers of `label`; a status does not say, since it ignores labels."""
    with urllib.request.urlopen(f"http://{rest}/v1/models/souk/labels/{label}/metadata", timeout=10) as answer:
        return json.load(answer)["model_spec"]["version"]


def test_a_canary_is_loaded_and_made_stable_without_a_restart(start_server, tmp_path):
    base = tmp_path / "souk"
    tiny_retriever.push(base, 3)
    start = tmp_path / "start.config"
    start.write_text((CONFIGS / "models.config").read_text().replace('"/models/', f'"{tmp_path}/'))
    running = start_server(None, model_config_file=str(start))
    rest = running.rest_address
    assert running.manager.wait_until_available(60)

    without_labels = re.sub(LABEL, "", CANARY)
    pinned = without_labels.replace(" versions: 4", "")
    stable = pinned.replace("  }\n}", '    version_labels { key: "stable" value: 3 }\n  }\n}')
    reload(running.address, stable, tmp_path)
    tiny_retriever.push(base, 4)

    promoted = CANARY.replace('"stable" value: 3', '"stable" value: 4')
    with pytest.raises(grpc.RpcError, match=r"assign label to version 4 .* not currently available"):
        reload(running.address, promoted, tmp_path)

    reload(running.address, stable.replace("versions: 3 ", "versions: 3 versions: 4 "), tmp_path)
    wait_for(lambda: versions(rest) == ["3", "4"], "both versions", 30)
    reload(running.address, CANARY, tmp_path)
    assert (answering(rest, "stable"), answering(rest, "canary")) == ("3", "4")

    reload(running.address, promoted, tmp_path)
    assert answering(rest, "stable") == "4"
    reload(running.address, pinned, tmp_path)
    wait_for(lambda: versions(rest) == ["3"], "the way back", 30)

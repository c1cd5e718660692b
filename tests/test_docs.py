import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.example_gen.rejects import EXPLANATIONS
from pipeline.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_configuration_page_is_what_the_settings_classes_say():
    written = subprocess.run(
        [sys.executable, "scripts/write_config_reference.py"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "docs" / "configuration.md").read_text() == written, "run `make docs`"


def test_every_reason_to_drop_a_row_is_explained():
    page = (ROOT / "docs" / "data.md").read_text()
    assert [reason for reason in EXPLANATIONS if f"`{reason}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_commands_exist(page):
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    commands = set(re.findall(r"`souk ([a-z]+)", text))
    assert commands <= set(COMMANDS)


def test_readme_shows_every_command():
    text = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"souk {name}" not in text] == []

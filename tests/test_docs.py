import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.example_gen.validate import EXPLANATIONS
from pipeline.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"\[((?:[^][]|\[[^][]*\])*)\]\(([^)\s]+)\)")


def links(page: Path) -> list[tuple[str, str, str]]:
    """Text, path and anchor of each relative link; a path within the page itself is ""."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found = [(text, *target.partition("#")[::2]) for text, target in LINK.findall(prose)]
    return [link for link in found if "://" not in link[1]]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def defines(module: Path, name: str) -> bool:
    return re.search(rf"^(\s*(def|class) )?{name}\b", module.read_text(), re.MULTILINE) is not None


def test_the_configuration_page_equals_the_settings_classes():
    written = subprocess.run(
        [sys.executable, "scripts/write_config_reference.py"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (DOCS / "configuration.md").read_text() == written, "run `make docs`"


def test_every_reason_to_drop_a_row_is_explained():
    page = (DOCS / "data.md").read_text()
    assert [reason for reason in EXPLANATIONS if f"`{reason}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve_and_commands_exist(page):
    broken = []
    for _, path, anchor in links(page):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{path}#{anchor}")
    assert broken == []
    commands = set(re.findall(r"`souk\s([a-z]+)", page.read_text()))
    assert commands <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_linked_name_is_defined_in_the_linked_module(page):
    named = [(text[1:-1], page.parent / path) for text, path, _ in links(page) if re.fullmatch(r"`\w+`", text)]
    modules = [(name, module) for name, module in named if module.suffix == ".py"]
    assert [f"{name} in {module.name}" for name, module in modules if not defines(module, name)] == []


def test_the_index_links_every_page():
    linked = {path for _, path, _ in links(DOCS / "index.md")}
    assert {page.name for page in DOCS.glob("*.md")} - linked == {"index.md"}


def test_the_cli_page_shows_every_command():
    text = (DOCS / "cli.md").read_text()
    assert [name for name in COMMANDS if f"`souk {name}" not in text] == []


def test_benchmark_commands_run_a_module_and_outputs_are_linked():
    page = DOCS / "benchmarks.md"
    commands = re.findall(r"`make bench-(\w+)`", page.read_text())
    assert [name for name in commands if importlib.util.find_spec(f"benchmarks.{name}") is None] == []
    linked = {path for _, path, _ in links(page)}
    assert {f"benchmarks/{output.name}" for output in (DOCS / "benchmarks").iterdir()} - linked == set()

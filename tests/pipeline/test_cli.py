import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from pipeline import cli
from schema.settings import InputError


def test_help_lists_every_command_and_imports_none_of_them():
    code = (
        "import sys\n"
        "from pipeline.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'ml_metadata', 'polars', 'rich'} & set(sys.modules)\n"
        "commands = [name for name in sys.modules if name.startswith('pipeline.commands.')]\n"
        "print('imported:', sorted(heavy), commands)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "imported: [] []" in shown
    for name in cli.COMMANDS:
        assert f"\n  {name} " in shown


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_listed_command_exists_and_shows_its_own_help(name):
    result = CliRunner().invoke(cli.main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Usage: main {name}" in result.output


def test_an_unknown_command_is_named_with_exit_code_2():
    result = CliRunner().invoke(cli.main, ["sarve"])
    assert result.exit_code == 2
    assert "sarve" in result.output


def test_bad_input_is_a_message_with_code_2_and_no_stack_trace(monkeypatch):
    @click.command()
    def refuse() -> None:
        raise InputError("no such file: shop.yaml; give --config the path of a configuration file")

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: refuse)
    result = CliRunner().invoke(cli.main, ["run"])
    assert result.exit_code == 2
    assert result.output.strip() == ("Error: no such file: shop.yaml; give --config the path of a configuration file")

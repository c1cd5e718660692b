"""`make demo`: a simulated shop, from its logs to answers, in one go.

Every step is a `souk` command that is printed before it runs, so that it can be typed again.
"""

import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from pipeline.config import PipelineConfig, load
from souk_client.client import Client

_STARTUP_S: Final = 120.0


class DemoError(click.ClickException):
    """A command of the demo failed; it has said why."""


@click.command()
@click.option("--preset", default="demo", show_default=True, help="Of the shop and of the pipeline.")
def main(preset: str) -> None:
    """Simulate a shop, run the pipeline on its logs, serve the result and ask it three queries."""
    config = load(preset)
    data = Path(config.root) / "data"
    if not (data / "shop.json").exists():
        _souk("simulate", "--preset", preset, "--out", _shown(data), "--force")
    started = time.monotonic()
    _souk("run", "--config", preset)
    seconds = time.monotonic() - started
    query, users = _question(data)
    with _server(config) as address:
        target = ("--config", preset, "--target", address, "--k", "5")
        _souk("query", query, *target)
        for user in users:
            _souk("query", query, "--user", user, *target)
    reports = sorted((Path(config.root) / "reports").glob("run-*.html"), key=lambda path: path.stat().st_mtime)
    click.echo(f"\nThe pipeline took {seconds:.0f} s. Its report: {_shown(reports[-1])}")
    click.echo(f"Go on with: .venv/bin/souk serve --config {preset}, or --help for all there is.")


def _souk(*arguments: str) -> None:
    click.secho(f"\n$ souk {shlex.join(arguments)}", bold=True)
    sys.stdout.flush()
    ended = subprocess.run([sys.executable, "-m", "pipeline.cli", *arguments], check=False)
    if ended.returncode != 0:
        raise DemoError(f"`souk {arguments[0]}` ended with code {ended.returncode}; see above")


def _shown(path: Path) -> str:
    """The path as a user would type it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _question(data: Path) -> tuple[str, list[str]]:
    """A query of the last day, and two of the users who asked it most; both as the simulated log has them."""
    import polars as pl

    last_day = sorted((data / "events").glob("*.jsonl.gz"))[-1]
    searches = pl.read_ndjson(last_day, infer_schema_length=None).filter(pl.col("event_type") == "search")
    askers = (
        searches.group_by("query", "user_id")
        .agg(times=pl.len())
        .sort("times", "user_id", descending=[True, False])
        .group_by("query", maintain_order=True)
        .agg(users=pl.col("user_id"), times=pl.col("times").sum())
        .filter(pl.col("users").list.len() >= 2)
        .sort("times", "query", descending=[True, False])
    )
    if askers.is_empty():
        raise DemoError(f"no query of {last_day} was asked by two users")
    row = askers.row(0, named=True)
    return row["query"], row["users"][:2]


@contextmanager
def _server(config: PipelineConfig) -> Iterator[str]:
    """A serving program on the pushed versions; its address, once it answers."""
    served = config.served()
    command = ["serve", "--model-dir", _shown(Path(config.model_directory)), "--name", served.model_name]
    if served.shards > 1:
        command += ["--shards", str(served.shards)]
    with tempfile.TemporaryDirectory(prefix="souk-demo-") as scratch:
        ready = Path(scratch) / "ready.json"
        click.secho(f"\n$ souk {shlex.join([*command, '--port', '0'])}", bold=True)
        hidden = ["--port", "0", "--ready-file", str(ready)]
        with open(Path(scratch) / "server.log", "w+") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", *command, *hidden], stdout=log, stderr=subprocess.STDOUT
            )
            try:
                yield _wait_until_ready(server, ready, list(served.model_folders()), Path(log.name))
            finally:
                server.terminate()
                server.wait(timeout=30)


def _wait_until_ready(server: "subprocess.Popen[bytes]", ready: Path, models: Sequence[str], log: Path) -> str:
    deadline = time.monotonic() + _STARTUP_S
    while time.monotonic() < deadline and server.poll() is None:
        if ready.exists():
            address: str = json.loads(ready.read_text())["address"]
            if all(_is_available(address, model) for model in models):
                return address
        time.sleep(0.2)
    raise DemoError(f"the serving program did not become ready:\n{log.read_text()[-2000:]}")


def _is_available(address: str, model: str) -> bool:
    with Client(address, model_name=model) as client:
        return any(version.state == "AVAILABLE" for version in client.status())


if __name__ == "__main__":
    main()

"""Environments that have a wheel and what it requires, and nothing else."""

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
# What builds the client alone; no part of the package.
CLIENT_PROJECT: Final = {"souk_client/pyproject.toml", "souk_client/README.md"}
_UV: Final = ROOT / ".uv" / "bin" / "uv"


@dataclass(frozen=True)
class Environment:
    """An environment in `folder`."""

    folder: Path

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Runs one of its programs outside the checkout."""
        program, *arguments = command
        return subprocess.run(
            [self.folder / "bin" / program, *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )

    def distributions(self) -> set[str]:
        """The names of all that is installed."""
        code = "import importlib.metadata as m; print(*{d.name.lower().replace('_', '-') for d in m.distributions()})"
        return set(self.run("python", "-c", code).stdout.split())


def tracked(*patterns: str) -> set[str]:
    """The files of the checkout that git knows, of these folders and names."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def copy(names: Iterable[str], target: Path) -> None:
    """Copies files of the checkout."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes((ROOT / name).read_bytes())


def build_wheel(source: Path, folder: Path) -> Path:
    """The wheel that is built from the sdist of `source`."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def install(wheel: Path, folder: Path, extra: str = "") -> Environment:
    """An environment with `wheel`, with the locked versions of what it requires."""
    subprocess.run([_UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    constraints = ["--constraint", str(ROOT / "requirements.lock")]
    subprocess.run([_UV, "pip", "install", "--quiet", "--python", folder, *constraints, wanted], check=True)
    return Environment(folder)

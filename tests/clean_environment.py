"""What the container image would install, without an engine: the instructions of the Dockerfile, done on a folder.

`RUN` lines are run as they are, but for their paths, which lead into the folder; `COPY` copies what `.dockerignore`
lets into the build. All stages share the one folder, which no two of them use in different ways. What an engine would
fetch, images, is left out: in the place of the image of Python stands the Python that runs the tests.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from docker.utils.build import exclude_paths

from tests.dockerfiles import Instruction, dockerfile

REPOSITORY: Final = Path(__file__).resolve().parent.parent
# Where the Dockerfile puts things; all other paths (/bin, /usr) are those of the machine.
_PATHS: Final = re.compile(r"(?<![\w./$-])/(?=(?:opt|src|code|dist|gcs|minio|s3|home/souk|tmp/kfp_outputs)(?:\W|$))")
_WITHOUT: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
# What `make setup` has done with the same program and lock, unless the environment was made in another way.
_INSTALL_UV: Final = "python scripts/install_uv.py /opt/uv"
_UV: Final = REPOSITORY / ".uv" / "bin" / "uv"


@dataclass
class Image:
    """The image's files and settings.

    Attributes:
      root: the folder that stands for `/`.
      variables: what its last stage sets, with paths in `root`.
      user: what its last stage runs as.
    """

    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    user: str = ""

    @property
    def python(self) -> Path:
        """Its interpreter, which has Souk and what the lock names, and nothing else."""
        return self.root / "opt" / "souk" / "bin" / "python"

    @property
    def environment(self) -> dict[str, str]:
        """All that a process in a container finds set."""
        return {**self.variables, "TF_CPP_MIN_LOG_LEVEL": "2"}

    def run(self, *command: str, expect: int = 0) -> "subprocess.CompletedProcess[str]":
        """Runs a command as in a container: by the image's variables alone, in its working folder."""
        ended = subprocess.run(
            [shutil.which(command[0], path=self.variables["PATH"]) or command[0], *command[1:]],
            cwd=self.variables["HOME"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == expect, f"{' '.join(command)}\n{ended.stdout}\n{ended.stderr}"
        return ended


def build(root: Path, context: Path = REPOSITORY) -> Image:
    """Does what `docker build` would do, to `root`."""
    programs = root / "programs"
    programs.mkdir(parents=True)
    # Python's own program, not that of the environment that runs the tests.
    (programs / "python").symlink_to(
        Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    )
    base = {"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin"}
    stages: dict[str, dict[str, str]] = {}
    users: dict[str, str] = {}
    stage, folder = "", root
    for entry in dockerfile((context / "Dockerfile").read_text()):
        if entry.name == "FROM":
            image, _, stage = entry.value.split()
            stages[stage] = dict(stages.get(image, base))
            users[stage] = users.get(image, "root")
            folder = root
        elif entry.name == "ENV":
            for word in entry.words:
                name, _, value = word.partition("=")
                stages[stage][name] = _within(root, value).replace("$PATH", stages[stage]["PATH"])
        elif entry.name == "WORKDIR":
            folder = Path(_within(root, entry.value))
            folder.mkdir(parents=True, exist_ok=True)
        elif entry.name == "USER":
            users[stage] = entry.value
        elif entry.name == "COPY":
            _copy(entry, root, folder, context)
        elif entry.name == "RUN" and entry.value == _INSTALL_UV and _UV.exists():
            shutil.copytree(_UV.parent, root / "opt" / "uv" / "bin", symlinks=True)
        elif entry.name == "RUN":
            _run(_within(root, entry.value), folder, stages[stage], stage == "dependencies")
    return Image(root, stages[stage], users[stage])


def _within(root: Path, text: str) -> str:
    return _PATHS.sub(f"{root}/", text)


def _copy(entry: Instruction, root: Path, folder: Path, context: Path) -> None:
    *sources, target = (word for word in entry.words if not word.startswith("--"))
    if entry.value.startswith("--from="):
        source, destination = (Path(_within(root, path)) for path in (sources[0], target))
        # From an image there is nothing to copy; from a stage to the same place, nothing to do.
        if source != destination:
            shutil.copytree(source, destination, symlinks=True, dirs_exist_ok=True)
        return
    lines = (context / ".dockerignore").read_text().splitlines()
    inside = exclude_paths(str(context), [line for line in lines if line and not line.startswith("#")], "Dockerfile")
    files = sorted(name for name in inside if (context / name).is_file())
    for source in sources:
        chosen = [name for name in files if source == "." or name == source or name.startswith(f"{source}/")]
        assert chosen, f"COPY {source}: no such file in the build"
        for name in chosen:
            to = folder / target / (name if source == "." else Path(name).name)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(context / name, to)


def _run(line: str, folder: Path, variables: dict[str, str], is_large: bool) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in _WITHOUT}
    # Minutes of compiling 4 GB of packages, whose bytecode is here already, are saved.
    fewer = {"UV_COMPILE_BYTECODE": "0"} if is_large else {}
    ended = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env={**kept, **variables, **fewer},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"RUN {line}\n{ended.stdout}\n{ended.stderr}"
    if is_large:
        _take_bytecode(Path(variables["UV_PROJECT_ENVIRONMENT"]))


def _take_bytecode(environment: Path) -> None:
    """Links the bytecode of the same packages here; Python takes none that is not of the very file beside it."""
    packages = Path("lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")
    here, there = Path(sys.prefix) / packages, environment / packages
    for folder, _, names in os.walk(here):
        if not folder.endswith("__pycache__"):
            continue
        target = there / Path(folder).relative_to(here)
        if not target.parent.is_dir():
            continue
        target.mkdir(exist_ok=True)
        for name in names:
            source = f"{name.partition('.')[0]}.py"
            if (target.parent / source).exists() and not (target / name).exists():
                _link(Path(folder, name), target / name)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="session")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image's Python with Souk installed in it, in no reach of this checkout. Made in some ten seconds."""
    root = tmp_path_factory.mktemp("image")
    yield build(root)
    # Hard links of 80,000 files, which pytest would keep for three sessions.
    shutil.rmtree(root, ignore_errors=True)

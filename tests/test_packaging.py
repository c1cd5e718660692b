"""Lock files, the sdist that Beam's workers install, what each install can do, and uv on a machine without pip."""

import hashlib
import itertools
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from pipeline import DISTRIBUTION
from pipeline.cli import COMMANDS
from tests import bare_environment
from tests.bare_environment import CLIENT_PROJECT, ROOT, Environment, copy, tracked
from tests.serving import tiny_retriever

PACKAGES = ("pipeline", "components", "evaluation", "trainer", "schema", "serving", "marketplace", "souk_client")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """The sdist of the tracked files, built as Beam builds it, by `setup.py`."""
    folder = tmp_path_factory.mktemp("sdist")
    copy(tracked(*PACKAGES, "pyproject.toml", "setup.py", "README.md"), folder / "source")
    subprocess.run(
        [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(folder / "dist")],
        cwd=folder / "source",
        check=True,
        capture_output=True,
    )
    return next((folder / "dist").iterdir())


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel that is built from the sdist."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked")
    return bare_environment.build_wheel(next((folder / "unpacked").iterdir()), folder)


@pytest.fixture(scope="module")
def base_install(wheel, tmp_path_factory) -> Environment:
    """Souk without an extra."""
    return bare_environment.install(wheel, tmp_path_factory.mktemp("base") / "environment")


def test_the_sdist_holds_every_tracked_file_of_every_package(sdist):
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    expected = tracked(*(f"{package}/*" for package in PACKAGES)) - CLIENT_PROJECT
    assert {Path(name).parts[0] for name in expected} == set(PACKAGES)
    assert expected - inside == set()


def test_an_sdist_install_runs_alone_with_its_data_files(wheel, tmp_path):
    target = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    program = (
        f"import sys; sys.path[:] = [{str(target)!r}, *(p for p in sys.path if p not in ('', {str(ROOT)!r}))]\n"
        "from components.schema_gate import config\n"
        "from pipeline.config import load, presets\n"
        "print(config.__file__, open(config.DEFAULT_SCHEMA).read().count('feature {'), presets(), load('tiny').name)\n"
    )
    shown = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    ).stdout
    assert shown.startswith(str(target))
    assert "['demo', 'esci', 'tiny'] tiny" in shown


def test_a_base_install_has_neither_tensorflow_nor_tfx(base_install):
    light = {"souk-retrieval", "grpcio", "protobuf", "click", "rich", "pydantic", "pyyaml", "polars"}
    heavy = {"tensorflow", "tfx", "scann", "apache-beam", "ml-metadata", "numpy", "pyarrow"}
    installed = base_install.distributions()
    assert light <= installed
    assert heavy & installed == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_base_install_shows_the_help_of_every_command(base_install, command):
    ended = base_install.run("souk", command, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ("simulate --preset tiny --out logs", "pipeline"),
        ("ingest --config tiny --out examples", "pipeline"),
        ("schema --config tiny --out schema.pbtxt", "pipeline"),
        ("run --config tiny", "pipeline"),
        ("refresh --config tiny", "pipeline"),
        ("compile --config tiny --target kubeflow --output pipeline.yaml", "pipeline"),
        ("schedule list --target kubeflow --host http://localhost:1", "pipeline"),
        ("status --config tiny", "pipeline"),
        ("report --config tiny", "pipeline"),
        ("evaluate --judgments qrels --queries queries --catalog catalog.jsonl --servable .", "pipeline"),
        ("bench models --config tiny", "bench"),
        ("serve --model-dir .", "serving"),
        ("follow", "pipeline"),
    ],
)
def test_a_command_that_is_not_installed_names_its_extra(base_install, arguments, extra):
    (base_install.folder / "qrels").write_text("1 0 v1-8 1\n")
    (base_install.folder / "queries").write_text("1\tred\n")
    ended = base_install.run("souk", *arguments.split())
    command, last = arguments.partition(" ")[0], ended.stderr.splitlines()[-1]
    assert ended.returncode == 2
    assert last.startswith(f"Error: `souk {command}` needs `")
    locked = "" if extra == "serving" else "--ignore-requires-python -c requirements.lock "
    assert f"which is not installed: run pip install {locked}'souk-retrieval[{extra}]'" in last
    assert "Traceback" not in ended.stderr


def test_the_serving_install_serves_and_the_base_install_asks(wheel, base_install, tmp_path):
    serving = bare_environment.install(wheel, tmp_path / "environment", "serving")
    assert {"tfx", "apache-beam"} & serving.distributions() == set()
    tiny_retriever.push(tmp_path / "models", 1)
    command = [tmp_path / "environment/bin/souk", "serve", "--model-dir", str(tmp_path / "models"), "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = next(line for line in server.stdout if line.startswith("ready:")).split()[-1]
            catalog = tmp_path / "catalog.jsonl"
            catalog.write_text('{"item_id": "v1-8", "title": "a kettle"}\n')
            ended = base_install.run("souk", "query", "blue kettle", "--target", address, "--catalog", str(catalog))
            assert ended.returncode == 0, ended.stderr
            assert "blue kettle" in ended.stdout
        finally:
            server.terminate()


def test_requirements_lock_says_what_uv_lock_says():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    locked = {package["name"]: package["version"] for package in lock["package"] if package["name"] != DISTRIBUTION}
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    required = dict(line.partition(" ;")[0].split("==") for line in lines if line.strip())
    assert required
    assert {name: locked[name] for name in required} == required
    assert stated_requirements() <= set(required)


def test_the_lock_is_that_of_pyproject():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    souk = next(package for package in lock["package"] if package["name"] == DISTRIBUTION)
    assert {item["name"] for item in souk["metadata"]["requires-dist"]} - {DISTRIBUTION} == stated_requirements()


def stated_requirements() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    return {re.split(r"[\[<>=!;]", line)[0].lower().replace("_", "-") for line in lines} - {DISTRIBUTION}


@pytest.fixture
def pinned_wheel(tmp_path) -> tuple[Path, str]:
    """A wheel like uv's, whose program says what it is, and a lock that pins it."""
    wheel = tmp_path / "uv-9.9.9-py3-none-manylinux_2_17_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-9.9.9.data/scripts/uv", "#!/bin/sh\necho uv 9.9.9\n")
        archive.writestr("uv/__init__.py", "")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = (
        '[[package]]\nname = "other"\nversion = "1"\n\n[[package]]\nname = "uv"\nversion = "9.9.9"\n'
        'wheels = [\n    { url = "https://example.org/uv-9.9.9-py3-none-musllinux_1_1_x86_64.whl", '
        f'hash = "sha256:{"0" * 64}" }},\n    {{ url = "{wheel.as_uri()}", hash = "sha256:{sha256}" }},\n]\n'
    )
    return wheel, lock


def install_uv(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = (
        "import sys; sys.path.insert(0, 'scripts'); import install_uv; from pathlib import Path\n"
        "lock, directory = sys.argv[1:]\n"
        "version, url, sha256 = install_uv.locked_uv(Path(lock).read_text(), 'x86_64')\n"
        "install_uv.install_wheel(url, sha256, Path(directory))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_uv_comes_from_the_locks_wheel_where_there_is_no_pip(pinned_wheel, tmp_path):
    (tmp_path / "uv.lock").write_text(pinned_wheel[1])
    ended = install_uv(str(tmp_path / "uv.lock"), str(tmp_path / "venv"))
    assert ended.returncode == 0, ended.stderr
    said = subprocess.run([tmp_path / "venv/bin/uv"], capture_output=True, text=True, check=True).stdout
    assert said == "uv 9.9.9\n"


def test_a_wheel_that_is_not_the_locked_one_is_not_installed(pinned_wheel, tmp_path):
    wheel, lock = pinned_wheel
    wheel.write_bytes(wheel.read_bytes() + b" ")
    (tmp_path / "uv.lock").write_text(lock)
    ended = install_uv(str(tmp_path / "uv.lock"), str(tmp_path / "venv"))
    assert ended.returncode == 1
    assert "its SHA-256 differs): nothing installed" in ended.stderr
    assert not (tmp_path / "venv").exists()


def test_an_unfetchable_wheel_ends_with_what_to_install(pinned_wheel, tmp_path):
    wheel, lock = pinned_wheel
    wheel.unlink()
    (tmp_path / "uv.lock").write_text(lock)
    ended = install_uv(str(tmp_path / "uv.lock"), str(tmp_path / "venv"))
    assert ended.returncode == 1
    assert "Run 'apt-get install python3-venv ca-certificates'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_real_lock_pins_uv_for_the_machines_souk_runs_on():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from install_uv import locked_uv
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    version, url, sha256 = locked_uv((ROOT / "uv.lock").read_text(), "x86_64")
    assert f"uv-{version}-" in url
    assert len(sha256) == 64
    with pytest.raises(SystemExit, match="no uv for Linux on sparc"):
        locked_uv((ROOT / "uv.lock").read_text(), "sparc")


def test_without_python_set_up_says_in_one_line_how_to_get_it(tmp_path):
    """A machine whose commands are bash's and coreutils' alone; `dirname` is what the script needs of them."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("bash", "dirname"):
        path = next(Path(folder) / name for folder in ("/bin", "/usr/bin") if (Path(folder) / name).exists())
        (commands / name).symlink_to(path)
    script = (ROOT / "scripts" / "set_up").read_text()
    # Its absolute candidates exist on the machine that runs this test.
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "set_up").write_text(re.sub(r"/usr/(local/)?bin/python", "/nowhere/python", script))
    ended = subprocess.run(
        ["/bin/bash", str(tmp_path / "scripts" / "set_up")],
        env={"PATH": str(commands)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "apt-get install python3 python3-venv" in ended.stderr

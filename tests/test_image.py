"""The container image: what goes into it, and what comes out, without an engine."""

import json
import re
import subprocess
import tomllib
from importlib.metadata import version

import pytest
from docker.utils.build import exclude_paths
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pipeline import DISTRIBUTION
from tests.bare_environment import CLIENT_PROJECT, tracked
from tests.clean_environment import REPOSITORY
from tests.dockerfiles import dockerfile, problems, program

INSTRUCTIONS = dockerfile((REPOSITORY / "Dockerfile").read_text())
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PACKAGES = [pattern.removesuffix("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]


def test_the_image_has_fixed_bases_no_secrets_and_a_user():
    assert problems(INSTRUCTIONS) == []


@pytest.mark.parametrize("path", sorted(name for name in tracked() if name.endswith("Dockerfile")))
def test_hadolint_finds_nothing_in_any_image(path):
    ended = subprocess.run([program("hadolint"), REPOSITORY / path], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_the_base_images_have_the_versions_souk_is_locked_to():
    text = "\n".join(entry.value for entry in INSTRUCTIONS)
    [python] = set(re.findall(r"python:(\d+\.\d+)-slim", text))
    assert f"{python}.0" in SpecifierSet(PROJECT["project"]["requires-python"])
    [(beam_python, beam)] = re.findall(r"apache/beam_python([\d.]+)_sdk:([\d.]+)", text)
    assert (beam_python, beam) == (python, version("apache-beam"))


def test_the_build_gets_only_what_the_image_is_built_of():
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    inside = exclude_paths(str(REPOSITORY), [line for line in lines if line and not line.startswith("#")])
    files = {name for name in inside if (REPOSITORY / name).is_file()} - {"Dockerfile", ".dockerignore"}
    built_of = ("pyproject.toml", "uv.lock", "setup.py", "README.md", "scripts/install_uv.py")
    assert tracked(*PACKAGES, *built_of) <= files
    assert {name.partition("/")[0] for name in files} == {*PACKAGES, *(name.partition("/")[0] for name in built_of)}


def test_the_image_has_all_tracked_package_files_and_bytecode(clean_environment):
    packages = next((clean_environment.root / "opt" / "souk" / "lib").glob("python*/site-packages"))
    files = tracked(*PACKAGES) - CLIENT_PROJECT
    assert {name for name in files if not (packages / name).is_file()} == set()
    modules = [packages / name for name in files if name.endswith(".py")]
    assert [m for m in modules if not list((m.parent / "__pycache__").glob(f"{m.stem}.*.pyc"))] == []


def test_the_image_has_what_the_lock_names_and_no_more(clean_environment):
    code = (
        "import json, importlib.metadata as m; "
        "print(json.dumps({d.name.lower().replace('_', '-').replace('.', '-'): d.version for d in m.distributions()}))"
    )
    installed = json.loads(clean_environment.run("python", "-c", code).stdout)
    lines = map(Requirement, (REPOSITORY / "requirements.lock").read_text().splitlines())
    wanted = [line for line in lines if line.marker is None or line.marker.evaluate()]
    locked = {line.name: str(line.specifier)[2:] for line in wanted}
    vendored = {name for name in installed if name not in locked} - {DISTRIBUTION, "pip"}
    assert {name: installed[name] for name in locked} == locked
    assert vendored == set()


def test_souk_answers_in_the_image_by_its_name(clean_environment):
    assert clean_environment.run("souk", "--version").stdout.strip() == f"souk, version {PROJECT['project']['version']}"
    last = INSTRUCTIONS[-1]
    assert last.name == "CMD"
    assert "Commands:" in clean_environment.run(*last.words).stdout


def test_a_step_that_is_given_nothing_ends_with_its_usage(clean_environment):
    ended = clean_environment.run("python", "-m", "pipeline.step", expect=2)
    assert "--json_serialized_invocation_args" in ended.stderr


def test_who_a_step_runs_as_may_read_all_that_is_installed(clean_environment):
    unreadable = [
        "(",
        "-type",
        "f",
        "-not",
        "-perm",
        "-o=r",
        ")",
        "-o",
        "(",
        "-type",
        "d",
        "-not",
        "-perm",
        "-o=rx",
        ")",
    ]
    found = subprocess.run(
        ["find", clean_environment.root / "opt" / "souk", *unreadable], capture_output=True, text=True, check=True
    )
    assert found.stdout == ""


def test_a_step_finds_the_keras_that_the_models_are_written_for(clean_environment):
    assert clean_environment.variables["TF_USE_LEGACY_KERAS"] == "1"


def test_who_a_step_runs_as_may_write_where_inputs_are_put(clean_environment):
    assert clean_environment.user == "65532:65532"
    for name in ("gcs", "minio", "s3", "tmp/kfp_outputs", "home/souk"):
        assert (clean_environment.root / name).stat().st_mode & 0o7777 == 0o1777, name

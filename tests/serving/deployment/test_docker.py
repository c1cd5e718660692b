import subprocess

import pytest

from tests.serving.deployment.files import (
    DOCKER,
    DOCKERFILES,
    FLAGS,
    SERVING,
    Instruction,
    dockerfile,
    image_command,
    only,
    program,
)

INSTRUCTIONS = {
    *("FROM", "ARG", "ENV", "LABEL", "SHELL", "RUN", "COPY", "WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"),
    "CMD",
}
SECRET = ("password", "passwd", "secret", "token", "api_key", "private_key", "credential")


def version_problem(image: str) -> str | None:
    """Why `image` may be another one tomorrow; None if it has a version."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return None if tag and tag != "latest" else f"{image} has no version"


def problems(instructions: list[Instruction]) -> list[str]:
    """What must not be in an image that goes into production."""
    found = [
        f"{entry.name} is no instruction that is used here" for entry in instructions if entry.name not in INSTRUCTIONS
    ]
    stages: set[str] = set()
    for entry in instructions:
        if entry.name == "FROM":
            image, *named = entry.value.split()
            if image not in stages and (problem := version_problem(image)):
                found.append(problem)
            stages.update(named[1:])
        if entry.name in ("ARG", "ENV") and any(word in entry.value.lower() for word in SECRET):
            found.append(f"{entry.name} {entry.value} puts a secret into the image")
    last = [n for n, entry in enumerate(instructions) if entry.name == "FROM"][-1]
    users = [entry.value for entry in instructions[last:] if entry.name == "USER"]
    # Kubernetes' runAsNonRoot takes no name's word for it.
    if not users or not users[-1].split(":")[0].isdigit() or users[-1].split(":")[0] == "0":
        found.append(f"the server runs as {users[-1] if users else 'root'}")
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_have_fixed_bases_no_secrets_and_a_user(path):
    assert problems(dockerfile(path.read_text())) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FROM a/b\nUSER 1", "a/b has no version"),
        ("FROM host:5000/b\nUSER 1", "host:5000/b has no version"),
        ("FROM a/b:latest\nUSER 1", "a/b:latest has no version"),
        ("FROM a:1", "the server runs as root"),
        ("FROM a:1\nUSER nobody", "the server runs as nobody"),
        ("FROM a:1\nUSER 0:0", "the server runs as 0:0"),
        ("FROM a:1 AS b\nUSER 1\nFROM b", "the server runs as root"),
        ("FROM a:1\nENV \\\n# why\n  API_TOKEN=x\nUSER 1", "ENV API_TOKEN=x puts a secret into the image"),
        ("FROM a:1\nADD x y\nUSER 1", "ADD is no instruction that is used here"),
    ],
)
def test_the_check_of_images_finds_what_is_wrong(text, problem):
    assert problems(dockerfile(text)) == [problem]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_copy_files_that_are_there_and_start_with_known_flags_on_those(path):
    copied = {}
    for entry in dockerfile(path.read_text()):
        if entry.name == "COPY" and "--from" not in entry.value:
            *sources, target = [word for word in entry.words if not word.startswith("--")]
            for source in sources:
                assert (SERVING / source).is_file(), source
                copied[target + source.rpartition("/")[2] if target.endswith("/") else target] = source
    given = image_command(path)
    assert set(given) <= FLAGS
    assert {value for value in given.values() if value.startswith("/")} <= set(copied)


def test_both_images_are_used_in_the_same_way():
    def face(path):
        entries = dockerfile(path.read_text())
        last = [n for n, entry in enumerate(entries) if entry.name == "FROM"][-1]
        kept = ("CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "USER")
        return {entry.name: entry.value for entry in entries[last:] if entry.name in kept}

    stock, scann = (face(DOCKER / f"{name}.Dockerfile") for name in ("stock", "scann"))
    assert stock == scann
    given = image_command(DOCKER / "stock.Dockerfile")
    assert stock["EXPOSE"].split() == [given["port"], given["rest_api_port"]]


def test_both_images_build_on_the_tensorflow_serving_whose_api_souk_uses():
    from importlib.metadata import version

    bases = {
        entry.value.split()[0].removesuffix("-devel")
        for path in DOCKERFILES
        for entry in dockerfile(path.read_text())
        if entry.name == "FROM"
    }
    assert bases == {f"tensorflow/serving:{version('tensorflow-serving-api')}"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    hadolint = program("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    ended = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_compose_runs_the_image_on_the_folders_that_it_reads_and_on_this_machine_alone():
    compose = only(DOCKER / "compose.yaml")
    serving = compose["services"]["serving"]
    context = (DOCKER / serving["build"]["context"]).resolve()
    assert context == SERVING
    assert (context / serving["build"]["dockerfile"]).is_file()
    given = image_command(DOCKER / "stock.Dockerfile")
    assert serving["ports"] == [f"127.0.0.1:{given[name]}:{given[name]}" for name in ("port", "rest_api_port")]
    mounts = {volume.split(":")[-2]: volume.rsplit(":", 2)[0] for volume in serving["volumes"]}
    assert set(mounts) == {"/models", "/etc/souk"}
    for value in given.values():
        if value.startswith("/etc/souk/"):
            assert (DOCKER / mounts["/etc/souk"] / value.removeprefix("/etc/souk/")).is_file()
    assert 'base_path: "/models/souk"' in (SERVING / "tf_serving" / "models.config").read_text()


def test_every_service_of_compose_has_a_version_few_rights_and_files_that_are_there():
    compose = only(DOCKER / "compose.yaml")
    for name, service in compose["services"].items():
        assert version_problem(service["image"]) is None, name
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source.startswith("${") or source in compose["volumes"] or (DOCKER / source).exists(), source

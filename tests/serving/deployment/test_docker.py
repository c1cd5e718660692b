import pytest

from tests.dockerfiles import dockerfile, problems, version_problem
from tests.serving.deployment.files import DOCKER, DOCKERFILES, SERVING, image_command, only


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_have_fixed_bases_no_secrets_and_a_user(path):
    assert problems(dockerfile(path.read_text())) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FROM a/b\nUSER 1", "a/b has no version"),
        ("FROM host:5000/b\nUSER 1", "host:5000/b has no version"),
        ("FROM a/b:latest\nUSER 1", "a/b:latest has no version"),
        ("FROM a:1", "it runs as root"),
        ("FROM a:1\nUSER nobody", "it runs as nobody"),
        ("FROM a:1\nUSER 0:0", "it runs as 0:0"),
        ("FROM a:1 AS b\nUSER 1\nFROM a:1", "it runs as root"),
        ("FROM a:1 AS b\nUSER 1\nFROM b AS c\nUSER root", "it runs as root"),
        ("FROM a:1\nCOPY --from=b:latest x y\nUSER 1", "b:latest has no version"),
        ("FROM a:1\nENV \\\n# why\n  API_TOKEN=x\nUSER 1", "ENV API_TOKEN=x puts a secret into the image"),
        ("FROM a:1\nADD x y\nUSER 1", "ADD is no instruction that is used here"),
    ],
)
def test_the_check_of_images_finds_what_is_wrong(text, problem):
    assert problems(dockerfile(text)) == [problem]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_copy_files_that_are_there_and_start_with_them(path):
    copied = {}
    for entry in dockerfile(path.read_text()):
        if entry.name == "COPY" and "--from" not in entry.value:
            *sources, target = [word for word in entry.words if not word.startswith("--")]
            for source in sources:
                assert (SERVING / source).is_file(), source
                copied[target + source.rpartition("/")[2] if target.endswith("/") else target] = source
    given = image_command(path)
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


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_start_the_server_under_an_init_they_have(path):
    """As process 1 TensorFlow Serving would ignore SIGTERM, and `docker stop` and Kubernetes would have to kill it."""
    entries = dockerfile(path.read_text())
    last = [n for n, entry in enumerate(entries) if entry.name == "FROM"][-1]
    (started,) = [entry.words for entry in entries if entry.name == "ENTRYPOINT"]
    assert started == ["/usr/bin/tini", "--", "/usr/bin/tensorflow_model_server"]
    installed = [n for n, entry in enumerate(entries) if entry.name == "RUN" and " install " in entry.value]
    assert any(n > last and "tini" in entries[n].words for n in installed)


def test_compose_leaves_the_start_and_its_init_to_the_image():
    assert not {"init", "entrypoint", "command"} & set(only(DOCKER / "compose.yaml")["services"]["serving"])


def test_both_images_build_on_the_tensorflow_serving_souk_uses():
    from importlib.metadata import version

    bases = {
        entry.value.split()[0].removesuffix("-devel")
        for path in DOCKERFILES
        for entry in dockerfile(path.read_text())
        if entry.name == "FROM"
    }
    assert bases == {f"tensorflow/serving:{version('tensorflow-serving-api')}"}


def test_compose_mounts_the_images_folders_and_listens_locally():
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


def test_compose_services_have_a_version_few_rights_and_files():
    compose = only(DOCKER / "compose.yaml")
    for name, service in compose["services"].items():
        assert version_problem(service["image"]) is None, name
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source.startswith("${") or source in compose["volumes"] or (DOCKER / source).exists(), source

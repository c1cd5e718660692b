"""The changes to the sources that the ScaNN image is built from, on trees that are laid out as the real ones are."""

import re
import subprocess
import sys

import pytest

from tests.serving.deployment.files import DOCKER

SERVER_BUILD = """
SUPPORTED_TENSORFLOW_OPS = if_v2([]) + [
    "@org_tensorflow_text//tensorflow_text:ops_lib",
]
"""
OPS_BUILD = """load("@pybind11_bazel//:build_defs.bzl", "pybind_library")

cc_library(
    name = "scann_ops",
    srcs = ["ops/scann_ops.cc"],
    deps = [
        "@local_config_tf//:libtensorflow_framework",
        "@local_config_tf//:tf_header_lib",
    ],
)

cc_library(
    name = "scann_ops_kernels",
    deps = [
        ":scann",
    ],
)

pybind_library(
    name = "scann_npy",
    deps = [
        ":scann",
    ],
)
"""


@pytest.fixture
def trees(tmp_path):
    serving, scann = tmp_path / "serving", tmp_path / "scann"
    (serving / "tensorflow_serving" / "model_servers").mkdir(parents=True)
    (serving / "tensorflow_serving" / "model_servers" / "BUILD").write_text(SERVER_BUILD)
    (serving / "WORKSPACE").write_text('workspace(name = "tf_serving")\n')
    (scann / "scann" / "scann_ops" / "cc").mkdir(parents=True)
    (scann / "scann" / "scann_ops" / "cc" / "BUILD.bazel").write_text(OPS_BUILD)
    return serving, scann


def link(trees):
    command = [sys.executable, DOCKER / "link_scann.py", *trees]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_server_depends_on_the_ops_and_knows_where_they_are(trees):
    serving, scann = trees
    assert link(trees).returncode == 0
    build = (serving / "tensorflow_serving" / "model_servers" / "BUILD").read_text()
    (target,) = re.findall(r'"@com_google_scann//(.+)",', build)
    package, _, name = target.partition(":")
    assert f'name = "{name}",' in (scann / package / "BUILD.bazel").read_text()
    assert f'path = "{scann}",' in (serving / "WORKSPACE").read_text()


def test_the_ops_use_tensorflows_sources_and_need_no_python(trees):
    assert link(trees).returncode == 0
    text = (trees[1] / "scann" / "scann_ops" / "cc" / "BUILD.bazel").read_text()
    assert "local_config_tf" not in text
    assert text.count("@org_tensorflow//tensorflow/core:tensorflow_opensource") == 1
    assert "pybind" not in text
    assert text.count("cc_library(") == 3


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("serving/tensorflow_serving/model_servers/BUILD", "", "not once"),
        ("serving/WORKSPACE", None, "cannot be read"),
        ("scann/scann/scann_ops/cc/BUILD.bazel", "", "takes TensorFlow from"),
        ("scann/scann/scann_ops/cc/BUILD.bazel", '"@local_config_tf//:tf_header_lib",', "no target 'scann_ops'"),
    ],
)
def test_sources_that_are_laid_out_otherwise_stop_the_build(trees, tmp_path, file, text, told):
    if text is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(text)
    ended = link(trees)
    assert ended.returncode == 1
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr

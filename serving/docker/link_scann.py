"""Makes TensorFlow Serving's build link ScaNN's ops: `link_scann.py TENSORFLOW_SERVING_FOLDER SCANN_FOLDER`.

Both are source trees, and both are changed in place; `scann.Dockerfile` calls this in the image that builds. ScaNN's
own build takes TensorFlow from an installed wheel and makes a Python extension; here TensorFlow comes from the sources
that the server is built from, and the ops are linked in for good. Whatever is not found where it is looked for
ends with an error, so that no server is built without the ops.
"""

import re
import sys
from pathlib import Path

TARGET = "@com_google_scann//scann/scann_ops/cc:scann_ops_static"

_SERVER_BUILD = "tensorflow_serving/model_servers/BUILD"
_OTHER_OPS = '"@org_tensorflow_text//tensorflow_text:ops_lib",'
_OPS_BUILD = "scann/scann_ops/cc/BUILD.bazel"
_WHEEL = re.compile(r'"@local_config_tf//:(libtensorflow_framework|tf_header_lib)",')
_SOURCES = '"@org_tensorflow//tensorflow/core:tensorflow_opensource",'
_PYBIND_LOAD = re.compile(r'^load\("@pybind11_bazel//[^\n]*\n', re.MULTILINE)
_PYBIND_RULE = re.compile(r"^pybind_(library|extension)\(\n.*?^\)\n", re.MULTILINE | re.DOTALL)
_STATIC_RULE = """
cc_library(
    name = "scann_ops_static",
    alwayslink = 1,
    deps = [
        ":scann_ops",
        ":scann_ops_kernels",
    ],
)
"""
# cnpy is the one that TensorFlow Serving has not; its commit is that of ScaNN's own WORKSPACE.
_REPOSITORIES = """
local_repository(
    name = "com_google_scann",
    path = "{scann}",
)

load("@bazel_tools//tools/build_defs/repo:git.bzl", "git_repository")

git_repository(
    name = "cnpy",
    commit = "57184ee0db37cac383fc29175950747a46a8b512",
    remote = "https://github.com/sammymax/cnpy.git",
)
"""


def link(serving: Path, scann: Path) -> None:
    """Changes both source trees.

    Raises:
      SystemExit: if one of them is not what is expected, naming the file and what it lacks.
    """
    _replace(serving / _SERVER_BUILD, _OTHER_OPS, f'{_OTHER_OPS}\n    "{TARGET}",')
    workspace = serving / "WORKSPACE"
    workspace.write_text(_read(workspace) + _REPOSITORIES.format(scann=scann))
    changed = [_take_tensorflow_from_sources(path) for path in sorted(scann.rglob("BUILD.bazel"))]
    if not any(changed):
        raise SystemExit(f"no BUILD.bazel in {scann} takes TensorFlow from @local_config_tf; is that ScaNN's source?")
    ops = scann / _OPS_BUILD
    text = _PYBIND_RULE.sub("", _PYBIND_LOAD.sub("", _read(ops)))
    for name in ("scann_ops", "scann_ops_kernels"):
        if f'name = "{name}",' not in text:
            raise SystemExit(f"{ops} has no target {name!r}")
    ops.write_text(text + _STATIC_RULE)


def _take_tensorflow_from_sources(path: Path) -> bool:
    text = path.read_text()
    # A rule that names both parts of the wheel must not name the one target twice.
    changed = re.sub(rf"{re.escape(_SOURCES)}(\s*{re.escape(_SOURCES)})+", _SOURCES, _WHEEL.sub(_SOURCES, text))
    path.write_text(changed)
    return changed != text


def _replace(path: Path, found: str, by: str) -> None:
    text = _read(path)
    if text.count(found) != 1:
        raise SystemExit(f"{path} says {found} {text.count(found)} times, not once; is that TensorFlow Serving 2.16?")
    path.write_text(text.replace(found, by))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error}") from None


if __name__ == "__main__":
    link(Path(sys.argv[1]), Path(sys.argv[2]))

"""The flags that TensorFlow Serving is started with, and the numbers that must fit one another."""

import re

import pytest

from serving.server import batching
from tests.serving.deployment.files import (
    CONFIGS,
    DOCKERFILES,
    ROOT,
    container,
    flag_problems,
    flags,
    image_command,
)

# Said all the same, since other files name the same port.
SAID_ALTHOUGH_THE_DEFAULT = "--port=8500 is the default"


def sources() -> dict[str, dict[str, str]]:
    """Every set of flags of TensorFlow Serving in the repository, by its place."""
    serving = (ROOT / "docs" / "serving.md").read_text()
    (block,) = [each for each in re.findall(r"```bash\n(.*?)```", serving, re.DOTALL) if "tensorflow/serving:" in each]
    server = block[block.index("tensorflow/serving:") : block.index("pytest")]
    return {
        "deployment.yaml": flags(container()["args"]),
        **{path.name: image_command(path) for path in DOCKERFILES},
        "serving.md": flags(re.findall(r"--\w+=\S+", server)),
    }


@pytest.mark.parametrize("place", sources())
def test_flags_are_known_and_say_more_than_defaults(place):
    given = sources()[place]
    assert given
    assert set(flag_problems(given)) <= {SAID_ALTHOUGH_THE_DEFAULT}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"max_threads": "4"}, "--max_threads is no flag"),
        ({"grpc_max_threads": "many"}, "--grpc_max_threads=many is no int"),
        ({"enable_batching": "yes"}, "--enable_batching=yes is no bool"),
        ({"max_num_load_retries": "5"}, "--max_num_load_retries=5 is the default"),
        ({"enable_model_warmup": "true"}, "--enable_model_warmup=true is the default"),
    ],
)
def test_a_wrong_flag_is_found(given, problem):
    assert flag_problems(given) == [problem]
    assert flag_problems({"grpc_max_threads": "64", "enable_batching": "true"}) == []


def test_what_needs_each_other_is_set_together():
    for given in sources().values():
        # A version that fails would otherwise be tried for five minutes, and hold the only loading thread meanwhile.
        assert {"grpc_max_threads", "max_num_load_retries", "num_load_threads"} <= set(given)
        assert ("batching_parameters_file" in given) == (given.get("enable_batching") == "true")


def test_single_queries_never_fill_the_batch_queue():
    """Every gRPC call holds a thread, so no more than these can wait; each takes one row of a batch at least."""
    options = batching.read_options(CONFIGS / "batching.config")
    for place in ("deployment.yaml", *(path.name for path in DOCKERFILES)):
        threads = int(sources()[place]["grpc_max_threads"])
        assert options.max_batch_size * options.max_enqueued_batches >= threads
        # Fewer threads than one batch has rows, and no batch of single queries would ever be full.
        assert threads > options.max_batch_size

"""One step of a compiled pipeline, in its container: `python -m pipeline.step` with what TFX's entry point is given.

A step that is tried again after it was killed is given the folders of its first attempt. What that one left there, such
as Beam's temporary folders, would be read as data by the steps after it; so it is removed before TFX runs the step.
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import argparse
import json
import runpy
import sys
from typing import Final

from pipeline.exit_codes import code_of
from schema.file_errors import file_error
from schema.secrets import mask
from schema.settings import InputError

_ENTRY_POINT: Final = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
# Beside the file that the entry point writes at the end.
_TEMPORARY: Final = ".temp"


def main() -> None:
    """Runs the step; bad input, or a bad disk, is the last line of its log, and the exit code that of a command."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    known, _ = parser.parse_known_args()
    clear_outputs(known.json_serialized_invocation_args)
    try:
        runpy.run_module(_ENTRY_POINT, run_name="__main__", alter_sys=True)
    except Exception as error:
        told = error if isinstance(error, InputError) else file_error(error)
        if told is None:
            raise
        print(f"Error: {mask(str(told))}", file=sys.stderr)
        sys.exit(code_of(told))


def clear_outputs(executor_input: str) -> None:
    """Removes the folders that a step is to write, and its folder for what is temporary.

    Args:
      executor_input: `ExecutorInput` as JSON.
    """
    from tfx.dsl.io import fileio

    outputs = json.loads(executor_input)["outputs"]
    uris = [artifact["uri"] for output in outputs["artifacts"].values() for artifact in output["artifacts"]]
    for uri in [*uris, os.path.join(os.path.dirname(outputs["outputFile"]), _TEMPORARY)]:
        if fileio.exists(uri):
            fileio.rmtree(uri)


if __name__ == "__main__":
    main()

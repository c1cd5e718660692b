"""Small real TFX components for tests of the runner."""

import os
import shutil
import signal
import time

import apache_beam as beam
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from schema.artifacts import SERVING_FOLDER
from schema.settings import InputError


@component
def Write(text: Parameter[str], written: OutputArtifact[standard_artifacts.String]):  # noqa: N802
    print("chatter of", text)
    with open(written.uri, "w") as file:
        file.write(text)


def _refuse(row):
    raise InputError(f"row {row} is not a row; mend the file")


def _fill_the_disk(row):
    with open("/dev/full", "w") as file:
        file.write(str(row))


@component
def Read(  # noqa: N802
    behavior: Parameter[str],
    written: InputArtifact[standard_artifacts.String],
    read: OutputArtifact[standard_artifacts.String],
):
    if behavior == "fail":
        raise ValueError("the tower fell over\nand hit the ground")
    if behavior == "refuse":
        raise InputError("the price -3 is negative; mend the catalog")
    if behavior == "refuse in a Beam worker":
        with beam.Pipeline() as p:
            _ = p | beam.Create([7]) | beam.Map(_refuse)
    if behavior == "fill the disk in a Beam worker":
        with beam.Pipeline() as p:
            _ = p | beam.Create([7]) | beam.Map(_fill_the_disk)
    if behavior == "read a path that is gone":
        os.stat("gone.jsonl")
    if behavior == "be interrupted":
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
    if behavior == "be killed once":
        flag = written.uri + ".killed"
        if not os.path.exists(flag):
            open(flag, "w").close()
            with open(read.uri, "w") as file:
                file.write("ha")
            os.kill(os.getpid(), signal.SIGKILL)
    with open(written.uri) as source, open(read.uri, "w") as target:
        target.write(source.read().upper())


@component
def CopyServable(source: Parameter[str], servable: OutputArtifact[standard_artifacts.Model]):  # noqa: N802
    shutil.copytree(source, os.path.join(servable.uri, SERVING_FOLDER))


def two_steps(root: str, behavior: str, text: str = "hello"):
    """Write -> Read, in `root`."""
    from tfx.orchestration import metadata
    from tfx.orchestration.pipeline import Pipeline

    write = Write(text=text)
    read = Read(behavior=behavior, written=write.outputs["written"])
    return Pipeline(
        pipeline_name="two",
        pipeline_root=f"{root}/artifacts",
        components=[write, read],
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(f"{root}/metadata.sqlite"),
    )

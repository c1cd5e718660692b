"""TFX component for pushing: TFX's Pusher, made safe against being killed half-way.

The stock executor copies straight into the version folder. Killed while copying, it leaves a version that a server
would pick up. This one copies to a folder beside the versions, which no server looks at, and renames at the end.
"""

import os
from typing import Any, Final

from tfx import types
from tfx.components.pusher import component as stock_component
from tfx.components.pusher import executor as stock_executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.pusher.shards import clear_up, newest_version, put_in_place
from schema.servable_files import read_shard_map
from schema.shards import push_directory

STAGING: Final = ".staging"
PUSHED: Final = "pushed"
PUSHED_VERSION: Final = "pushed_version"
PUSHED_DESTINATION: Final = "pushed_destination"


class Executor(stock_executor.Executor):
    """Lets the stock executor push to a staging folder, then puts the whole version in place at once."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes if every blessing given says so; the output artifact says whether and where."""
        key = standard_component_specs.PUSH_DESTINATION_KEY
        model_dir = model_directory(exec_properties[key])
        payload = self.GetModelPath(input_dict)
        shard_map = read_shard_map(payload)
        shards = 1 if shard_map is None else shard_map.shards
        directory = push_directory(model_dir, shards)
        staging = os.path.join(directory, STAGING)
        if fileio.exists(staging):
            fileio.rmtree(staging)

        destination = pusher_pb2.PushDestination(filesystem={"base_directory": staging})
        super().Do(input_dict, output_dict, {**exec_properties, key: proto_utils.proto_to_json(destination)})

        push = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if push.get_int_custom_property(PUSHED) == 1:
            staged, staged_version = (push.get_string_custom_property(n) for n in (PUSHED_DESTINATION, PUSHED_VERSION))
            if shard_map is not None:
                clear_up(model_dir, shards)
            version = max(int(staged_version), newest_version(model_dir, shards) + 1)
            final = os.path.join(directory, str(version))
            if shard_map is not None:
                put_in_place(payload, staged, shard_map, model_dir, version)
            fileio.rename(staged, final)
            fileio.rmtree(staging)
            self._MarkPushed(push, pushed_destination=final, pushed_version=str(version))


def model_directory(destination: str) -> str:
    """The folder of versions: a `PushDestination` as JSON, or, as a user gives it to a run on a cluster, its path."""
    if not destination.lstrip().startswith("{"):
        return destination
    parsed = pusher_pb2.PushDestination()
    proto_utils.json_to_proto(destination, parsed)
    return str(parsed.filesystem.base_directory)


class Pusher(stock_component.Pusher):
    """Pushes to a folder of versions; a version there is always whole, and newer than all before it.

    A model in shards goes to a folder of versions for each shard, `<model folder>-shard-0-of-3` and so on. A version is
    whole as soon as it is in `<model folder>-in-3-shards`, which has the map of its shards.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

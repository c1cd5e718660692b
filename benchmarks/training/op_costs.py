"""Which kinds of op a training step spends its time on, from the TensorFlow profiler's trace."""

import collections
import glob
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

_HOST = "/host:CPU"


@dataclass(frozen=True)
class OpCost:
    """All ops of one type.

    Attributes:
      type: as TensorFlow names it, without oneDNN's prefix.
      milliseconds: per step, summed over ops; on several cores they may run at the same time.
      calls: per step.
      share: of the time of all ops.
    """

    type: str
    milliseconds: float
    calls: float
    share: float


def op_costs(step: Callable[[], Any], steps: int = 20) -> list[OpCost]:
    """Profiles `steps` steps; the dearest type of op comes first."""
    options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder, options=options):
            for _ in range(steps):
                step()
        space = xplane_pb2.XSpace()
        for path in glob.glob(os.path.join(folder, "**", "*.xplane.pb"), recursive=True):
            with open(path, "rb") as file:
                space.MergeFromString(file.read())
    return by_type(space, steps)


def by_type(space: xplane_pb2.XSpace, steps: int) -> list[OpCost]:
    """Costs by type of the ops in a trace of `steps` steps.

    An op's event is named "<name of the op>:<type>"; events without a name before the type are functions that hold ops.
    """
    picoseconds: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        if not plane.name.startswith(_HOST):
            continue
        for line in plane.lines:
            for event in line.events:
                name, colon, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if not colon or name.endswith(":") or not kind.isidentifier():
                    continue
                kind = kind.removeprefix("_Mkl").removeprefix("Native")
                picoseconds[kind] += event.duration_ps
                calls[kind] += 1
    total = sum(picoseconds.values())
    return [OpCost(kind, ps / 1e9 / steps, calls[kind] / steps, ps / total) for kind, ps in picoseconds.most_common()]

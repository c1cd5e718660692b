"""A run folder that is moved or copied keeps its cache and its history.

TFX keeps absolute paths in ML Metadata, and has them in the keys of its cache. Here the keys name what lies in the root
by its place within it, input files by their content alone, and the metadata is told of a new root once.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.orchestration.portable import cache_utils
from tfx.proto.orchestration import executable_spec_pb2

# <root>/artifacts/<step>/<output>/<execution>
_ARTIFACT: Final = re.compile(r"(/.*)/artifacts/[^/]+/[^/]+/\d+(?:/value)?")
_TEXTS: Final = (
    ("Artifact", "uri"),
    ("ArtifactProperty", "string_value"),
    ("ExecutionProperty", "string_value"),
    ("ContextProperty", "string_value"),
)


def follow_move(metadata_path: str, root: str) -> str:
    """Makes ML Metadata that was written under another root name the paths of this one; the caller holds the run lock.

    Args:
      metadata_path: the SQLite file of ML Metadata.
      root: where it lies now.

    Returns:
      The root that it was written under; "" where that is this one or nothing was written yet.
    """
    if not Path(metadata_path).exists():
        return ""
    with closing(sqlite3.connect(metadata_path)) as store:
        if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'Artifact'").fetchone():
            return ""
        uris = [uri for (uri,) in store.execute("SELECT uri FROM Artifact ORDER BY id DESC") if uri]
        artifact, former = next(((uri, found[1]) for uri in uris if (found := _ARTIFACT.fullmatch(uri))), ("", root))
        if former == root or not Path(replace_path(artifact, former, root)).exists():
            return ""
        store.create_function("moved", 1, lambda text: replace_path(text, former, root), deterministic=True)
        # Not by ML Metadata itself, which would note a time of change that is part of the keys. All or nothing.
        with store:
            for table, column in _TEXTS:
                store.execute(f"UPDATE {table} SET {column} = moved({column}) WHERE instr({column}, ?)", (former,))
    return former


def replace_path(text: str, former: str, path: str) -> str:
    """The text with `former` and what is in it as paths of `path`; `/run2` and `/data/run` are not in `/run`."""
    return re.sub(rf"(?<![\w./~-]){re.escape(former)}(?![^/\"'\s,;:)\]}}])", lambda _: path, text)


@contextmanager
def keys_without(paths: Sequence[str]) -> Iterator[None]:
    """Makes the keys of TFX's cache, of steps that this process runs, the same wherever these paths and workers are.

    Args:
      paths: of the root, and of what is part of the keys by its content; what lies in another comes before that.
    """
    original = cache_utils.get_cache_context

    def without(text: str) -> str:
        for number, path in enumerate(paths):
            text = replace_path(text, path, f"<path {number}>")
        return text

    def get_cache_context(
        *,
        executor_spec: Message | None = None,
        input_artifacts: Mapping[str, Sequence[types.Artifact]] | None = None,
        parameters: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> metadata_store_pb2.Context:
        inputs = {
            key: [_with_texts(artifact, without) for artifact in artifacts]
            for key, artifacts in (input_artifacts or {}).items()
        }
        given = {
            name: without(value) if isinstance(value, str) else value for name, value in (parameters or {}).items()
        }
        return original(executor_spec=_without_beam(executor_spec), input_artifacts=inputs, parameters=given, **others)

    cache_utils.get_cache_context = get_cache_context
    try:
        yield
    finally:
        cache_utils.get_cache_context = original


def _without_beam(spec: Message | None) -> Message | None:
    """A copy without Beam's arguments: where and in how many threads a step works is not what it makes."""
    copy = deepcopy(spec)
    if isinstance(copy, executable_spec_pb2.BeamExecutableSpec):
        del copy.beam_pipeline_args[:], copy.beam_pipeline_args_placeholders[:]
    return copy


def _with_texts(artifact: types.Artifact, changed: Callable[[str], str]) -> types.Artifact:
    """A copy with its URI and the texts of its properties changed."""
    copy = deepcopy(artifact)
    copy.uri = changed(artifact.uri)
    for properties in (copy.mlmd_artifact.properties, copy.mlmd_artifact.custom_properties):
        for value in properties.values():
            if value.HasField("string_value"):
                value.string_value = changed(value.string_value)
    return copy

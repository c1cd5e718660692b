"""Asks servables in bulk: a Beam job over parts of the inputs, answered by workers that load each servable once.

Beam moves the addresses of parts alone. Inputs and answers lie in files in a folder that all workers reach, so a part
that is answered twice, by a worker that was lost and by the one that took over, is one file with one content.
"""

import contextlib
import io
import os
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.utils import shared

from evaluation.example_columns import StrPath
from evaluation.servable import Answer, LoadedServable, concatenate
from schema.files import write_whole
from schema.settings import InputError

MakePipeline = Callable[[], beam.Pipeline]

_READ_BATCH = 1024


@dataclass(frozen=True)
class Question:
    """Inputs, at least one, for a signature of a servable.

    Attributes:
      servable: its folder.
      signature: its name.
      inputs: as the signature takes them, [inputs].
      batch_size: inputs per call.
      batches_per_part: calls that one worker makes in a row.
    """

    servable: StrPath
    signature: str
    inputs: Sequence[bytes]
    batch_size: int
    batches_per_part: int = 1


@dataclass(frozen=True)
class Part:
    """A range of a question's inputs, and where they and their answer are."""

    servable: str
    signature: str
    batch_size: int
    inputs: str
    answer: str

    @property
    def refusal(self) -> str:
        """The file in which a worker says what is wrong with the servable, in place of the answer."""
        return f"{self.answer}.refused"


class LoadedServables:
    """The servables of one process, each loaded when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_path: dict[str, LoadedServable] = {}

    def get(self, path: str) -> LoadedServable:
        """The servable at `path`.

        Raises:
          InputError: there is none.
        """
        with self._lock:
            if path not in self._by_path:
                self._by_path[path] = LoadedServable(path)
            return self._by_path[path]

    def clear(self) -> None:
        """Lets go of all of them."""
        with self._lock:
            self._by_path.clear()


class ReplayJob:
    """Asks servables on the workers of a Beam pipeline; a context manager, which lets go of the servables at its end.

    Args:
      make_pipeline: gives the pipeline to run, not yet entered; by default a local one within this process.
      part_dir: an existing folder that all workers can read and write; what it is left with is what it had before.
        By default a temporary one, for which all workers must be on this machine.
    """

    def __init__(self, make_pipeline: MakePipeline | None = None, part_dir: StrPath | None = None):
        self._make_pipeline = make_pipeline or partial(beam.Pipeline, runner="FnApiRunner")
        self._part_dir = part_dir
        # A worker that lives in this process, as the local runner's does, takes the servables that are loaded here.
        self._handle = shared.Shared()
        self._loaded: LoadedServables = self._handle.acquire(LoadedServables)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loaded.clear()

    def servable(self, path: StrPath) -> LoadedServable:
        """The servable at `path`, loaded in this process.

        Raises:
          InputError: there is none.
        """
        return self._loaded.get(os.fspath(path))

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers to `questions`, each with a row per input in their order.

        Raises:
          InputError: a worker cannot use a servable, or its answers are not where this process looks for them.
        """
        with _work_folder(self._part_dir) as folder:
            parts = [_write_parts(question, os.path.join(folder, str(n))) for n, question in enumerate(questions)]
            with self._make_pipeline() as pipeline:
                _ = (
                    pipeline
                    | "Parts" >> beam.Create([part for each in parts for part in each])
                    | "Ask" >> beam.ParDo(_Ask(self._handle))
                )
            return [concatenate([_read_answer(part) for part in each]) for each in parts]


class _Ask(beam.DoFn):
    """Writes the answer to each part."""

    def __init__(self, handle: shared.Shared):
        self._handle = handle

    def setup(self) -> None:
        self._servables: LoadedServables = self._handle.acquire(LoadedServables)

    def process(self, part: Part) -> None:
        batches = tf.data.TFRecordDataset(part.inputs).batch(_READ_BATCH).as_numpy_iterator()
        inputs = [value for batch in batches for value in batch.tolist()]
        try:
            answer = self._servables.get(part.servable).ask(part.signature, inputs, part.batch_size)
        except InputError as error:
            # As a file it arrives as it is; as an exception each runner would wrap it, or try again.
            write_whole(part.refusal, str(error).encode())
            return
        archive = io.BytesIO()
        # As a byte matrix, NumPy needs no pickle for texts.
        np.savez(archive, **{k: v.astype("S") if v.dtype == object else v for k, v in answer.items()})
        write_whole(part.answer, archive.getvalue())


@contextlib.contextmanager
def _work_folder(parent: StrPath | None) -> Iterator[str]:
    if parent is None:
        with tempfile.TemporaryDirectory(prefix="souk-replay-") as folder:
            yield folder
        return
    folder = os.path.join(os.fspath(parent), f"replay-{uuid.uuid4().hex}")
    try:
        yield folder
    finally:
        if tf.io.gfile.exists(folder):
            tf.io.gfile.rmtree(folder)


def _write_parts(question: Question, folder: str) -> list[Part]:
    tf.io.gfile.makedirs(folder)
    rows = question.batch_size * question.batches_per_part
    parts = []
    for start in range(0, len(question.inputs), rows):
        name = os.path.join(folder, f"{start // rows:06d}")
        with tf.io.TFRecordWriter(f"{name}.tfrecord") as writer:
            for value in question.inputs[start : start + rows]:
                writer.write(value)
        parts.append(
            Part(
                os.fspath(question.servable),
                question.signature,
                question.batch_size,
                f"{name}.tfrecord",
                f"{name}.npz",
            )
        )
    return parts


def _read_answer(part: Part) -> Answer:
    if tf.io.gfile.exists(part.refusal):
        with tf.io.gfile.GFile(part.refusal) as file:
            raise InputError(file.read())
    if not tf.io.gfile.exists(part.answer):
        raise InputError(
            f"Beam's workers have answered, but {part.answer} is not there: they write to another disk than this "
            "process reads. Let the pipeline's `root` be a folder that all of them share"
        )
    with tf.io.gfile.GFile(part.answer, "rb") as file:
        archive = io.BytesIO(file.read())
    with np.load(archive) as arrays:
        return {name: arrays[name] for name in arrays.files}

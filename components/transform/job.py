"""The Beam job of Transform: learns the vocabularies of some splits, then writes all splits as ids.

A file of examples is read, transformed and written as a whole, in large batches by TensorFlow itself: most of the time
of a Beam job that handles one record at a time is Beam's and not the graph's.
"""

import os
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tensorflow_transform import impl_helper
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.tfxio.dataset_options import RecordBatchesOptions
from tfx_bsl.tfxio.tf_example_record import TFExampleRecord

from components.transform import vocabulary_counts
from components.transform.config import TransformConfig
from components.transform.preprocessing import CUSTOM_CONFIG_KEY, preprocessing_fn

_BATCH = 2048
_OPTIONS = RecordBatchesOptions(batch_size=_BATCH, drop_final_batch=False, num_epochs=1, shuffle=False)
# Batches of a file that are transformed at once: parsing, graph and encoding of one take a processor in turns.
_AT_ONCE = 2
# Ids compress little better at higher levels, which take longer.
_COMPRESSION = tf.io.TFRecordOptions("GZIP", compression_level=1)


@dataclass(frozen=True)
class _Task:
    """A file of examples, and where its transformed examples go."""

    source: str
    target: str


def transform_splits(
    pipeline: beam.Pipeline,
    schema: Schema,
    config: TransformConfig,
    analyzed: Sequence[str],
    splits: Mapping[str, str],
    graph_dir: str,
    scratch: str,
) -> None:
    """Adds to `pipeline` what learns the vocabularies and writes graph and transformed examples.

    Args:
      pipeline: whose workers see all folders.
      schema: of the raw examples.
      config: of the transform.
      analyzed: folders of gzipped TFRecords of raw examples, from which the vocabularies are learned.
      splits: by folder of raw examples, the folder that gets them transformed, in as many files of the same order.
      graph_dir: gets the transform graph, as `tft.TFTransformOutput` reads it.
      scratch: folder for what is not finished, on the same file system; the caller removes it after the job.
    """

    def preprocess(inputs: Mapping[str, tf.SparseTensor]) -> dict[str, tf.SparseTensor]:
        return preprocessing_fn(inputs, {CUSTOM_CONFIG_KEY: config.to_json()})

    vocabulary_counts.register()
    for folder in (scratch, *splits.values()):
        tf.io.gfile.makedirs(folder)
    source = TFExampleRecord(_files(analyzed[0]), schema=schema, telemetry_descriptors=["Transform"])
    # TF 1 graphs are traced once per phase, TF 2 functions several times: less than half the time for a small shop.
    with tft_beam.Context(temp_dir=scratch, use_deep_copy_optimization=True, force_tf_compat_v1=True):
        specs = source.TensorAdapter().OriginalTypeSpecs()
        columns = list(tft.get_analyze_input_columns(preprocess, specs, force_tf_compat_v1=True))
        read = source.Project(columns)
        raw = (
            pipeline
            | "AnalyzedFiles" >> beam.Create([file for folder in analyzed for file in _files(folder)])
            | "ShareOut" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_ReadBatches(schema.SerializeToString(), columns))
        )
        transform_fn = (raw, read.TensorAdapterConfig()) | "Analyze" >> tft_beam.AnalyzeDataset(
            preprocess, pipeline=pipeline
        )
        written = transform_fn | "WriteGraph" >> tft_beam.WriteTransformFn(graph_dir)
    written_metadata = tft.DatasetMetadata(schema) | "WriteMetadata" >> tft_beam.WriteMetadata(
        os.path.join(graph_dir, tft.TFTransformOutput.RAW_METADATA_DIR), pipeline
    )
    _ = (
        pipeline
        | "Files" >> beam.Create([task for source, target in splits.items() for task in _tasks(source, target)])
        | "ShareOutFiles" >> beam.Reshuffle()
        | "TransformFile"
        >> beam.ParDo(
            _TransformFile(graph_dir, scratch),
            # Not for what they hold: the graph must be there.
            beam.pvalue.AsIter(written),
            beam.pvalue.AsIter(written_metadata),
        )
    )


class _ReadBatches(beam.DoFn):
    """A file of examples to record batches of some of its features."""

    def __init__(self, schema: bytes, columns: Sequence[str]):
        self._schema = schema
        self._columns = columns

    def process(self, path: str) -> Iterator[pa.RecordBatch]:
        """The file's record batches in its order."""
        source = TFExampleRecord(path, schema=Schema.FromString(self._schema), telemetry_descriptors=["Transform"])
        yield from source.Project(self._columns).RecordBatches(_OPTIONS)


class _Graph:
    """A transform graph that maps serialized raw examples to serialized transformed ones."""

    def __init__(self, directory: str):
        output = tft.TFTransformOutput(directory)
        spec, layer = output.raw_feature_spec(), output.transform_features_layer()
        schema = output.transformed_metadata.schema
        self._to_arrow = impl_helper.make_tensor_to_arrow_converter(schema)
        self._encoder = RecordBatchToExamplesEncoder(schema)

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
        def transform(serialized: tf.Tensor) -> dict[str, tf.SparseTensor]:
            return layer(tf.io.parse_example(serialized, spec))

        self._transform = transform

    def __call__(self, serialized: tf.Tensor) -> list[bytes]:
        return self._encoder.encode(self._to_arrow.convert(self._transform(serialized)))


class _TransformFile(beam.DoFn):
    """Writes the transformed examples of a file."""

    def __init__(self, graph_dir: str, scratch: str):
        self._graph_dir = graph_dir
        self._scratch = scratch
        self._graph: _Graph | None = None

    def process(self, task: _Task, graph: Iterable[object], metadata: Iterable[object]) -> None:
        """Writes to another place first: a worker that is lost leaves no half a file."""
        # Not before: the graph is there once this is called.
        self._graph = self._graph or _Graph(self._graph_dir)
        unfinished = os.path.join(self._scratch, uuid.uuid4().hex)
        with tf.io.TFRecordWriter(unfinished, _COMPRESSION) as writer, ThreadPoolExecutor(_AT_ONCE) as threads:
            batches = tf.data.TFRecordDataset(task.source, compression_type="GZIP").batch(_BATCH).prefetch(1)
            for examples in _in_order(threads, self._graph, batches):
                for example in examples:
                    writer.write(example)
        tf.io.gfile.rename(unfinished, task.target, overwrite=True)


def _in_order(
    threads: ThreadPoolExecutor, work: Callable[[tf.Tensor], list[bytes]], batches: Iterable[tf.Tensor]
) -> Iterator[list[bytes]]:
    """What `work` makes of each batch, in their order; of one more batch than there are threads at any time."""
    waiting: deque[Future[list[bytes]]] = deque()
    for batch in batches:
        waiting.append(threads.submit(work, batch))
        if len(waiting) > _AT_ONCE:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _files(folder: str) -> list[str]:
    return sorted(tf.io.gfile.glob(os.path.join(folder, "*")))


def _tasks(source: str, target: str) -> list[_Task]:
    files = _files(source)
    return [
        _Task(file, os.path.join(target, f"transformed_examples-{number:05d}-of-{len(files):05d}.gz"))
        for number, file in enumerate(files)
    ]

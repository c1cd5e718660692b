"""Drafts a schema for a shop: Souk's own features as the contract has them, the shop's own columns as found."""

import posixpath
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import tensorflow_data_validation as tfdv
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.example_gen.config import IngestConfig
from components.example_gen.files import make_directory, remove_tree
from components.example_gen.ingest import ingest_into, local_pipeline
from components.schema_gate.columns import column_feature
from components.schema_gate.config import DEFAULT_SCHEMA
from components.schema_gate.gate import Statistics, parse_schema, read_schema
from schema import features
from schema.artifacts import split_folder

# A feed may lose this share of what it had of an optional feature before the gate stops it.
_TOLERATED_LOSS = 0.2
_HEADER = """\
# Drafted by `souk schema` from {examples:,} examples of the shop's own data. Read it through before it is relied on:
# `presence` of an optional feature is {kept:.0%} of what was found, so that a feed that breaks is noticed; a feature
# of which nothing was found says no `presence`. What each feature means is in the file schema/souk.pbtxt of Souk.

"""


def draft_schema(config: IngestConfig, beam_args: Sequence[str] = (), shared: str | None = None) -> str:
    """The text of a schema for the data of `config`.

    Args:
      config: what to ingest and how.
      beam_args: Beam pipeline options.
      shared: a folder that all workers see, in which to keep a folder meanwhile; by default this machine's own.

    Raises:
      InputError: the data cannot be ingested.
    """
    with _scratch(shared) as scratch:
        examples = posixpath.join(scratch, "examples")
        ingest_into(config, examples, lambda: local_pipeline(beam_args))
        statistics = {
            split: tfdv.generate_statistics_from_tfrecord(
                posixpath.join(examples, split_folder(split), "*"),
                output_path=posixpath.join(scratch, f"statistics-{split}"),
                stats_options=tfdv.StatsOptions(use_sketch_based_topk_uniques=True),
                pipeline_options=PipelineOptions(list(beam_args)),
            )
            for split in (features.TRAIN_SPLIT, features.CATALOG_SPLIT)
        }
    drafted = schema_of(statistics)
    total = sum(split.datasets[0].num_examples for split in statistics.values())
    header = _HEADER.format(examples=total, kept=1 - _TOLERATED_LOSS)
    return header + text_format.MessageToString(drafted)


@contextmanager
def _scratch(shared: str | None) -> Iterator[str]:
    if shared is None:
        with tempfile.TemporaryDirectory(prefix="souk-schema-") as folder:
            yield folder
        return
    folder = posixpath.join(shared, f"schema-draft-{uuid.uuid4().hex}")
    make_directory(folder)
    try:
        yield folder
    finally:
        remove_tree(folder)


def schema_of(statistics: Mapping[str, Statistics]) -> schema_pb2.Schema:
    """A schema that the data behind `statistics` fits.

    Args:
      statistics: of the splits `train` and `catalog`.
    """
    found = {
        feature.path.step[0]: (feature, split.datasets[0].num_examples)
        for split in statistics.values()
        for feature in split.datasets[0].features
    }
    own = parse_schema(read_schema(DEFAULT_SCHEMA), DEFAULT_SCHEMA)
    kept = [feature for feature in own.feature if feature.name in found or not _is_profile(feature.name)]
    del own.feature[:]
    own.feature.extend(kept)
    known = {feature.name for feature in kept}
    for name in sorted(found):
        if name not in known and (feature := column_feature(name)):
            own.feature.append(feature)
    for feature in own.feature:
        if not feature.HasField("presence") and feature.name in found:
            _expect(feature, *found[feature.name])
    return own


def _is_profile(name: str) -> bool:
    return name.startswith(features.PROFILE_PREFIX)


def _expect(feature: schema_pb2.Feature, statistics: statistics_pb2.FeatureNameStatistics, examples: int) -> None:
    common = next(
        stats.common_stats
        for stats in (statistics.string_stats, statistics.num_stats, statistics.bytes_stats)
        if stats.HasField("common_stats")
    )
    share = common.num_non_missing / examples if examples else 0.0
    if share > 0.0:
        feature.presence.min_fraction = round(share * (1 - _TOLERATED_LOSS), 2)

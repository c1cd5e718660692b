"""`souk refresh --delta`: brings what has changed in the catalog to the servers without a new full index."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl
import tensorflow as tf

from components.delta_index.build import DeltaCard, embed, read_card, write_delta
from components.delta_index.changes import Changes, changes_between, content_of, read_content
from components.delta_index.config import DeltaConfig
from components.delta_index.gate import DeltaMeasurements, measure_delta
from components.example_gen.catalog import item_columns
from components.example_gen.catalog_file import CatalogFile, read_catalog_file
from components.example_gen.encode import encode_examples
from components.index_builder.delta_basis import DeltaBasis
from components.pusher.shards import versions_in
from pipeline.config import PipelineConfig
from pipeline.run_lock import run_lock
from pipeline.runs import metadata
from schema import features, lineage
from schema.artifacts import DELTA_BASIS_FOLDER, SERVING_FOLDER, split_folder
from schema.settings import InputError
from souk_client.protocol import delta_model
from trainer import artifact
from trainer.artifact import TrainedModel

_STAGING: Final = ".staging"
# With a lock apart from that of runs: a delta is pushed while a training is at work.
_WORK_FOLDER: Final = "delta"


@dataclass(frozen=True)
class FullIndex:
    """The pushed version of the full index, and what it was built of.

    Attributes:
      version: of the push.
      model: the trained model.
      basis: its settings and statistics.
      catalog: glob of the raw catalog examples.
    """

    version: int
    model: TrainedModel
    basis: DeltaBasis
    catalog: str


@dataclass(frozen=True)
class DeltaOutcome:
    """What came of a delta refresh.

    Attributes:
      card: of the delta index, pushed or not.
      version: the pushed one; None where nothing was pushed.
      pushed_to: its folder, or "".
      measured: by the gate; None where nothing had changed since the last delta.
      refusals: of the gate.
      seconds: of each step.
    """

    card: DeltaCard
    version: int | None
    pushed_to: str
    measured: DeltaMeasurements | None
    refusals: tuple[str, ...]
    seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """One JSON object."""
        state = "refused" if self.refusals else "unchanged" if self.version is None else "pushed"
        measured = None if self.measured is None else vars(self.measured)
        return {"state": state, **vars(self), "card": vars(self.card), "measured": measured}

    def lines(self) -> list[str]:
        """The same for a person."""
        card = self.card
        said = f"{card.items} new or changed items, {card.removed} removed, beside version {card.full_version}"
        if self.refusals:
            return [f"Not pushed, {said}: {reason}" for reason in self.refusals]
        if self.version is None:
            return [f"Nothing has changed since the last push: {said}"]
        took = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        return [f"Pushed delta version {self.version} to {self.pushed_to}: {said}", f"Seconds: {took}"]


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - started, 2)


def refresh_delta(config: PipelineConfig, push_unchanged: bool = False) -> DeltaOutcome:
    """Indexes what has changed since the pushed full index was built, and pushes it beside that.

    Args:
      config: of the pipeline.
      push_unchanged: whether to push also what the last delta has already.

    Raises:
      InputError: nothing is pushed yet that it could stand beside; its files are gone; the columns have changed; more
        has changed than a delta is for; the catalog cannot be used.
      BusyError: another delta is being built.
    """
    with run_lock(os.path.join(config.root, _WORK_FOLDER)):
        started = time.monotonic()
        full = find_full(config)
        clock = _Clock({"full": round(time.monotonic() - started, 2)})
        return refresh_beside(full, config, clock, push_unchanged)


def refresh_beside(
    full: FullIndex, config: PipelineConfig, clock: "_Clock | None" = None, push_unchanged: bool = False
) -> DeltaOutcome:
    """As `refresh_delta`, beside a full index that is at hand."""
    clock = clock or _Clock()
    os.makedirs(os.path.join(config.root, _WORK_FOLDER), exist_ok=True)
    with clock.of("catalog"):
        catalog = read_catalog_file(None, config.ingest)
        catalog.check(config.ingest.max_bad_fraction)
    with clock.of("compare"):
        changes = find_changes(full, catalog, config)
    return _build_and_push(config, full, catalog, changes, clock, push_unchanged)


def find_full(config: PipelineConfig) -> FullIndex:
    """The newest pushed version, and what it was built of.

    Raises:
      InputError: there is none, or its files are gone.
    """
    version = max(versions_in(config.push_directory), default=None)
    if version is None:
        raise InputError(
            f"nothing is pushed yet: {config.push_directory} has no version. Run `souk run` first, which trains, gates "
            "and pushes one"
        )
    servable = metadata.servable_of_version(config.metadata_path, version)
    properties = {} if servable is None else servable.properties
    if servable is None or not properties.get(lineage.CATALOG):
        raise InputError(
            f"version {version} in {config.push_directory} was not pushed by a run or refresh under {config.root}, so "
            "it is not known what it was built of; run `souk refresh` there once"
        )
    examples = os.path.join(properties[lineage.CATALOG], split_folder(features.CATALOG_SPLIT), "*")
    basis = DeltaBasis.load(os.path.join(servable.uri, DELTA_BASIS_FOLDER))
    model = artifact.load(os.path.join(properties[lineage.TRAINED_MODEL], SERVING_FOLDER))
    return FullIndex(version, model, basis, examples)


def find_changes(full: FullIndex, catalog: CatalogFile, config: PipelineConfig) -> Changes:
    """What the full index lacks of a catalog.

    Raises:
      InputError: the columns are others than those of the full index, or more has changed than a delta is for.
    """
    known, named = (sorted(names) for names in (full.model.sizes.columns, config.ingest.data.catalog_columns.features))
    if known != named:
        raise InputError(
            f"`ingest.data.catalog_columns` makes the features {', '.join(named) or 'none'}, and the model of version "
            f"{full.version} was trained with {', '.join(known) or 'none'}: a delta cannot add a column. Run `souk run`"
        )
    new = content_of(item_columns(catalog.items), named)
    changes = changes_between(_content_of_full(full, named, config), new, full.basis.config.drop_duplicates)
    if changes.share > config.delta.max_share:
        raise InputError(
            f"{len(changes.added):,} items are new or changed and {changes.removed:,} are gone or not available, which "
            f"is {changes.share:.1%} of the {changes.indexed:,} that are indexed; `delta.max_share` allows "
            f"{config.delta.max_share:.1%}. Check that the catalog is whole; if it is, run `souk refresh`"
        )
    return changes


def _content_of_full(full: FullIndex, further: list[str], config: PipelineConfig) -> pl.DataFrame:
    """The content of the catalog that the full index was built of, decoded once for all deltas of that version."""
    folder = Path(config.root, _WORK_FOLDER)
    path = folder / f"content-{full.version}.parquet"
    if path.exists():
        return pl.read_parquet(path)
    content = read_content(full.catalog, further)
    for old in folder.glob("content-*"):
        old.unlink()
    partial = path.with_suffix(".partial")
    content.write_parquet(partial)
    partial.rename(path)
    return content


def _build_and_push(
    config: PipelineConfig,
    full: FullIndex,
    catalog: CatalogFile,
    changes: Changes,
    clock: _Clock,
    push_unchanged: bool,
) -> DeltaOutcome:
    directory = config.delta_directory
    pushed = versions_in(directory)
    last = read_card(os.path.join(directory, str(max(pushed)))) if pushed else None
    added = catalog.items.filter(pl.col("item_id").is_in(changes.added))
    examples = [example for batch in encode_examples(item_columns(added)) for example in batch] if len(added) else []
    left_out = len(changes.left_out)
    card = DeltaCard(full.version, len(examples), left_out, changes.removed, changes.digest(examples))
    # A delta of another version is void, which is as good as an empty one.
    same = card == last or (not card.items and not left_out and (last is None or last.full_version != full.version))
    if same and not push_unchanged:
        return DeltaOutcome(card, None, "", None, (), clock.seconds)
    with clock.of("embed"):
        embedded = embed(full.model, examples)
    staging = os.path.join(directory, _STAGING)
    if tf.io.gfile.exists(staging):
        tf.io.gfile.rmtree(staging)
    staged = os.path.join(staging, "version")
    with clock.of("build"):
        name = delta_model(config.serving.model_name)
        write_delta(full.model, embedded, full.basis, changes, card, staged, name)
    with clock.of("gate"):
        measured = measure_delta(staged, full.model, embedded, full.basis.config.k, config.delta)
    refusals = tuple(measured.refusals(config.delta))
    if refusals:
        return DeltaOutcome(card, None, "", measured, refusals, clock.seconds)
    version, final = _put_in_place(staged, directory, pushed, config.delta)
    tf.io.gfile.rmtree(staging)
    return DeltaOutcome(card, version, final, measured, (), clock.seconds)


def _put_in_place(staged: str, directory: str, pushed: set[int], config: DeltaConfig) -> tuple[int, str]:
    """Renames a version into its folder and removes the oldest ones; gives its number and its path."""
    version = max(int(time.time()), max(pushed, default=0) + 1)
    final = os.path.join(directory, str(version))
    tf.io.gfile.rename(staged, final)
    for old in sorted(pushed)[: max(0, len(pushed) + 1 - config.keep_versions)]:
        tf.io.gfile.rmtree(os.path.join(directory, str(old)))
    return version, final

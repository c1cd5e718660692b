import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.index_builder.build import ServableSummary
from components.index_builder.component import IndexBuilder
from components.index_builder.config import IndexConfig
from components.index_builder.lexical.lexicon import Lexicon
from components.index_builder.lexical.postings import Field, build_postings
from tests.small_shop import ALL_CATALOG, SmallShop
from trainer import artifact

CONFIG = IndexConfig(k=60, sample_requests=16, warmup_requests=3)
# With three, as `test_sharded_client.py` has them, each more costs a graph to write and to load.
SHARDS = 2
TWIN = {**ALL_CATALOG[-1], "item_id": [b"zz-twin"]}


@dataclass(frozen=True)
class Built:
    model_dir: str
    servable_dir: str
    summary: ServableSummary
    shop: SmallShop
    basis_dir: str = ""

    @cached_property
    def model(self) -> artifact.TrainedModel:
        return artifact.load(self.model_dir)

    @cached_property
    def signatures(self):
        return tf.saved_model.load(self.servable_dir).signatures

    def card(self) -> dict:
        with open(f"{self.servable_dir}/assets.extra/souk.json") as file:
            return json.load(file)


def lexicon_of(titles: Sequence[bytes], dense_weight: float = 0.5) -> Lexicon:
    """Of items that have nothing but titles, and vectors of unit length."""
    postings = build_postings([Field("title", 1.0, 0.5, titles)], CONFIG.lexical, True)
    return Lexicon(postings, True, 1.0, dense_weight)


def artifact_in(folder: Path, kind: type, name: str):
    """An artifact of a TFX type, whose folder is there."""
    made = kind()
    made.uri = str(folder / name)
    (folder / name).mkdir()
    return made


@dataclass(frozen=True)
class Sharded:
    """What the step made of the same model and catalog in shards, and what it was given."""

    model: standard_artifacts.Model
    examples: standard_artifacts.Examples
    servable: standard_artifacts.Model

    @property
    def payload(self) -> Path:
        return Path(self.servable.uri, "Format-Serving")


@pytest.fixture(scope="session")
def sharded(built, tmp_path_factory) -> Sharded:
    folder = tmp_path_factory.mktemp("sharded")
    model, servable = (artifact_in(folder, standard_artifacts.Model, name) for name in ("model", "servable"))
    examples = artifact_in(folder, standard_artifacts.Examples, "examples")
    model.set_string_custom_property("tfx_version", "1.16.0")
    Path(model.uri, "Format-Serving").symlink_to(built.model_dir)
    examples.split_names = '["train", "catalog"]'
    for split, file in (
        ("train", Path(built.shop.files("train", transformed=False)[0])),
        ("catalog", Path(built.servable_dir).parent / "catalog.gz"),
    ):
        Path(examples.uri, f"Split-{split}").mkdir()
        Path(examples.uri, f"Split-{split}", file.name).symlink_to(file)
    IndexBuilder.test_call(
        servable=servable,
        config_json=CONFIG.to_json(),
        overrides=f"shards={SHARDS}",
        model=model,
        examples=examples,
        beam_pipeline=beam.Pipeline(runner="FnApiRunner"),
    )
    return Sharded(model, examples, servable)


@pytest.fixture(scope="session")
def traced(small_shop, tmp_path_factory) -> Callable:
    """Gives what `test_op_memory.trace` finds of a model."""
    from tests.components.index_builder.test_op_memory import trace

    return cache(lambda model: trace(small_shop, model, tmp_path_factory.mktemp(model)))

import json
from collections.abc import Sequence
from dataclasses import dataclass

import apache_beam as beam
import pytest
import tensorflow as tf

from components.index_builder.build import ServableSummary, build_servable
from components.index_builder.config import IndexConfig
from components.index_builder.lexical.lexicon import Lexicon
from components.index_builder.lexical.postings import Field, build_postings
from tests.small_shop import ALL_CATALOG, SmallShop, small_shop, write_examples
from trainer import artifact
from trainer.config import NegativesConfig, OptimizerConfig, TrainerConfig
from trainer.train import train

CONFIG = IndexConfig(k=60, sample_requests=16, warmup_requests=3)
TWIN = {**ALL_CATALOG[-1], "item_id": [b"zz-twin"]}


@dataclass(frozen=True)
class Built:
    model_dir: str
    servable_dir: str
    summary: ServableSummary
    shop: SmallShop

    def load(self):
        return tf.saved_model.load(self.servable_dir)

    def card(self) -> dict:
        with open(f"{self.servable_dir}/assets.extra/souk.json") as file:
            return json.load(file)


def lexicon_of(titles: Sequence[bytes], dense_weight: float = 0.5) -> Lexicon:
    """Of items that have nothing but titles, and vectors of unit length."""
    postings = build_postings([Field("title", 1.0, 0.5, titles)], CONFIG.lexical, True)
    return Lexicon(postings, True, 1.0, dense_weight)


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    """A short training on the small shop, indexed with one more item that is the twin of another."""
    shop = small_shop()
    out = tmp_path_factory.mktemp("index_builder")
    config = TrainerConfig(
        embedding_dim=16,
        dim=16,
        hidden=(32,),
        batch_size=64,
        epochs=4,
        min_steps=1,
        recall_k=3,
        negatives=NegativesConfig(per_positive=64),
        optimizer=OptimizerConfig(learning_rate=0.01),
    )
    model = train(config, shop.transform, shop.files("train"), shop.files("catalog"), str(out / "log"))
    artifact.save(model, str(out / "model"))
    catalog = out / "catalog.gz"
    write_examples(catalog, [*ALL_CATALOG, TWIN])
    (out / "parts").mkdir()
    summary = build_servable(
        model_dir=str(out / "model"),
        catalog_pattern=str(catalog),
        request_pattern=shop.files("train", transformed=False)[0],
        output_dir=str(out / "servable"),
        part_dir=str(out / "parts"),
        config=CONFIG,
        make_pipeline=lambda: beam.Pipeline(runner="FnApiRunner"),
    )
    return Built(str(out / "model"), str(out / "servable"), summary, shop)

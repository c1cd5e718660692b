"""What the tests of several steps share."""

import apache_beam as beam
import pytest

from components.index_builder.build import build_servable
from tests.components.index_builder.conftest import CONFIG, TWIN, Built
from tests.small_shop import ALL_CATALOG, write_examples
from trainer import artifact


@pytest.fixture(scope="session")
def built(small_shop, trained, tmp_path_factory) -> Built:
    """The trained model of the small shop, indexed with one more item that is the twin of another."""
    shop = small_shop
    out = tmp_path_factory.mktemp("index_builder")
    artifact.save(trained, str(out / "model"))
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
        basis_dir=str(out / "basis"),
    )
    return Built(str(out / "model"), str(out / "servable"), summary, shop, str(out / "basis"))

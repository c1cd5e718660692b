"""What a servable is built of, as the step is given it or as the ledger has it, and what the step makes of it."""

import shutil
from pathlib import Path

import apache_beam as beam
import pytest
from tfx.types import artifact_utils, standard_artifacts

from components.index_builder.component import IndexBuilder, find_sources
from evaluation import ledger
from schema import lineage
from schema.settings import InputError
from tests.components.index_builder.conftest import CONFIG
from tests.small_shop import ALL_CATALOG, write_examples


def artifact(kind, folder, name):
    made = kind()
    made.uri = str(folder / name)
    (folder / name).mkdir(exist_ok=True)
    return made


@pytest.fixture
def model(tmp_path):
    return artifact(standard_artifacts.Model, tmp_path, "model")


@pytest.fixture
def examples(tmp_path):
    return artifact(standard_artifacts.Examples, tmp_path, "examples")


@pytest.fixture
def catalog(tmp_path):
    return artifact(standard_artifacts.Examples, tmp_path, "catalog")


def test_the_step_leaves_the_servable_alone_and_describes_it(tmp_path, built, model, examples):
    model.set_string_custom_property("tfx_version", "1.16.0")
    Path(model.uri, "Format-Serving").symlink_to(built.model_dir)
    examples.split_names = '["train", "catalog"]'
    for split in ("train", "catalog"):
        Path(examples.uri, f"Split-{split}").mkdir()
    shutil.copy(built.shop.files("train", transformed=False)[0], Path(examples.uri, "Split-train"))
    write_examples(Path(examples.uri, "Split-catalog", "items.gz"), ALL_CATALOG)
    servable = artifact(standard_artifacts.Model, tmp_path, "servable")
    IndexBuilder.test_call(
        servable=servable,
        config_json=CONFIG.to_json(),
        overrides="k=50",
        model=model,
        examples=examples,
        beam_pipeline=beam.Pipeline(runner="FnApiRunner"),
    )
    assert [path.name for path in Path(servable.uri).iterdir()] == ["Format-Serving"]
    assert servable.get_int_custom_property("indexed_items") == len(ALL_CATALOG)
    assert servable.get_string_custom_property("index") == "exact"
    assert lineage.trained_model(servable).uri == model.uri
    assert lineage.catalog(servable) == examples.uri
    assert '"k": 50' in Path(servable.uri, "Format-Serving", "assets.extra", "souk.json").read_text()


def test_the_catalog_is_that_of_the_examples_unless_another_is_given(model, examples, catalog):
    assert find_sources(model, examples, None, "").catalog is examples
    given = find_sources(model, examples, catalog, "")
    assert (given.requests, given.catalog) == (examples, catalog)


def test_the_ledger_has_the_model_and_its_requests(tmp_path, model, examples, catalog):
    servable = artifact(standard_artifacts.Model, tmp_path, "servable")
    lineage.describe(servable, model, examples, str(tmp_path / "an older catalog"))
    ledger.record(str(tmp_path / "ledger"), ledger.SERVABLES, servable)
    found = find_sources(None, None, catalog, str(tmp_path / "ledger"))
    assert (found.model.uri, found.requests.uri, found.catalog) == (model.uri, examples.uri, catalog)
    assert artifact_utils.get_split_uri([found.requests], "train") == f"{examples.uri}/Split-train"
    assert servable.uri == str(tmp_path / "servable")
    assert lineage.catalog(servable) == str(tmp_path / "an older catalog")


def test_without_a_blessed_servable_there_is_nothing_to_build_of(tmp_path, catalog):
    with pytest.raises(InputError, match=r"no model has been blessed yet.*run `souk run` first"):
        find_sources(None, None, catalog, str(tmp_path / "ledger"))


def test_a_servable_that_does_not_name_its_requests_is_explained(tmp_path, catalog):
    servable = artifact(standard_artifacts.Model, tmp_path, "servable")
    servable.set_string_custom_property(lineage.TRAINED_MODEL, str(tmp_path / "model"))
    ledger.record(str(tmp_path / "ledger"), ledger.SERVABLES, servable)
    with pytest.raises(InputError, match="an earlier release of Souk built it"):
        find_sources(None, None, catalog, str(tmp_path / "ledger"))

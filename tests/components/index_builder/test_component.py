"""What a servable is built of, as the step is given it or as the ledger has it, and what the step makes of it."""

from pathlib import Path

import pytest
from tfx.types import artifact_utils, standard_artifacts

from components.index_builder.component import find_sources
from evaluation import ledger
from schema import lineage
from schema.settings import InputError
from tests.components.index_builder.conftest import artifact_in
from tests.small_shop import ALL_CATALOG


@pytest.fixture
def model(tmp_path):
    return artifact_in(tmp_path, standard_artifacts.Model, "model")


@pytest.fixture
def examples(tmp_path):
    return artifact_in(tmp_path, standard_artifacts.Examples, "examples")


@pytest.fixture
def catalog(tmp_path):
    return artifact_in(tmp_path, standard_artifacts.Examples, "catalog")


def test_the_step_leaves_the_servable_alone_and_describes_it(sharded):
    servable = sharded.servable
    assert {path.name for path in Path(servable.uri).iterdir()} == {"Format-Serving", "delta_basis"}
    assert servable.get_int_custom_property("indexed_items") == len(ALL_CATALOG)
    assert servable.get_string_custom_property("index") == "exact"
    assert lineage.trained_model(servable).uri == sharded.model.uri
    assert lineage.catalog(servable) == sharded.examples.uri


def test_the_catalog_is_the_examples_own_unless_one_is_given(model, examples, catalog):
    assert find_sources(model, examples, None, "").catalog is examples
    given = find_sources(model, examples, catalog, "")
    assert (given.requests, given.catalog) == (examples, catalog)


def test_the_ledger_has_the_model_and_its_requests(tmp_path, model, examples, catalog):
    servable = artifact_in(tmp_path, standard_artifacts.Model, "servable")
    lineage.describe(servable, model, examples, str(tmp_path / "an older catalog"))
    ledger.record(str(tmp_path / "ledger"), ledger.SERVABLES, servable)
    found = find_sources(None, None, catalog, str(tmp_path / "ledger"))
    assert (found.model.uri, found.requests.uri, found.catalog) == (model.uri, examples.uri, catalog)
    assert artifact_utils.get_split_uri([found.requests], "train") == f"{examples.uri}/Split-train"
    assert servable.uri == str(tmp_path / "servable")
    assert lineage.catalog(servable) == str(tmp_path / "an older catalog")


def test_without_a_blessed_servable_there_is_nothing_to_build(tmp_path, catalog):
    with pytest.raises(InputError, match=r"no model has been blessed yet.*run `souk run` first"):
        find_sources(None, None, catalog, str(tmp_path / "ledger"))


def test_a_servable_that_names_no_requests_is_explained(tmp_path, catalog):
    servable = artifact_in(tmp_path, standard_artifacts.Model, "servable")
    servable.set_string_custom_property(lineage.TRAINED_MODEL, str(tmp_path / "model"))
    ledger.record(str(tmp_path / "ledger"), ledger.SERVABLES, servable)
    with pytest.raises(InputError, match="an earlier release of Souk built it"):
        find_sources(None, None, catalog, str(tmp_path / "ledger"))

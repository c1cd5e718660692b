import os
import shutil

import numpy as np
import pytest
import tensorflow_transform as tft

from schema import features, transformed
from tests.trainer.conftest import CONFIG
from trainer import artifact
from trainer.config import TrainerConfig
from trainer.input import SearchReader
from trainer.training_data import input_sizes
from trainer.warm_start import start_from

SMALL = {"embedding_dim": 16, "dim": 16, "hidden": (32,)}


@pytest.fixture(scope="module")
def earlier(without_dropout):
    return without_dropout


def fresh_towers(config, transform, table):
    sizes = input_sizes(transform)
    towers = artifact.make_towers(config, sizes)
    artifact.build(towers, SearchReader(config, tuple(sizes.profile)), table)
    return towers


@pytest.fixture(scope="module")
def later_transform(shop, tmp_path_factory):
    """The shop's transform graph after a day on which every frequency changed, a brand came and a word was gone."""
    directory = str(tmp_path_factory.mktemp("later") / "transform")
    shutil.copytree(shop.transform.transform_savedmodel_dir, os.path.join(directory, "transform_fn"))
    root = os.path.dirname(shop.transform.transform_savedmodel_dir.rstrip("/"))
    for name in ("metadata", "transformed_metadata"):
        shutil.copytree(os.path.join(root, name), os.path.join(directory, name))
    later = tft.TFTransformOutput(directory)
    for vocabulary, change in (
        (transformed.UNIGRAMS, lambda terms: terms[::-1][1:]),
        (transformed.BIGRAMS, lambda terms: terms[::-1]),
        (transformed.BRANDS, lambda terms: [b"Newcomer", *terms]),
    ):
        path = later.vocabulary_file_by_name(vocabulary.name)
        terms = change(later.vocabulary_by_name(vocabulary.name))
        with open(path, "wb") as file:
            file.write(b"".join(term + b"\n" for term in terms))
    return later


@pytest.mark.parametrize("model", ["two_tower", "dpsr", "mgdspr", "mmse"])
def test_every_weight_of_every_model_has_one_path(shop, earlier, model):
    towers = fresh_towers(TrainerConfig(model=model, **SMALL), shop.transform, earlier.table)
    by_path = towers.variables_by_path()
    assert sorted(id(v) for v in by_path.values()) == sorted(id(v) for v in towers.weights)


def test_training_starts_with_all_a_model_of_its_type_learned(shop, earlier, tmp_path):
    optimizer = CONFIG.optimizer.model_copy(update={"learning_rate": 1e-12})
    still = CONFIG.model_copy(update={"epochs": 1, "optimizer": optimizer})
    warm = shop.train(still, tmp_path, earlier=earlier)
    cold = fresh_towers(still, shop.transform, earlier.table)
    mine, theirs, others = (towers.variables_by_path() for towers in (warm.towers, earlier.towers, cold))
    for path, variable in mine.items():
        np.testing.assert_allclose(variable, theirs[path], rtol=0, atol=1e-6, err_msg=path)
    assert not np.allclose(mine["tokens/table"], others["tokens/table"], atol=1e-3)


def test_embeddings_go_over_by_term_where_ids_have_changed(earlier, later_transform):
    towers = fresh_towers(CONFIG, later_transform, earlier.table)
    before = towers.item_fields[features.BRAND].table.numpy()
    result = start_from(towers, later_transform, earlier)
    assert result.fresh == ()

    def rows(towers, transform, vocabulary, matrix, shift=0):
        terms = transform.vocabulary_by_name(vocabulary.name)
        return {term: matrix[1 + shift + place] for place, term in enumerate(terms)}

    sizes = towers.sizes, earlier.towers.sizes
    for vocabulary, shifts in ((transformed.UNIGRAMS, (0, 0)), (transformed.BIGRAMS, [s.unigrams for s in sizes])):
        new = rows(towers, later_transform, vocabulary, towers.tokens.table.numpy(), shifts[0])
        old = rows(earlier.towers, earlier.transform, vocabulary, earlier.towers.tokens.table.numpy(), shifts[1])
        assert set(new) <= set(old)
        for term, vector in new.items():
            np.testing.assert_array_equal(vector, old[term])
    # Buckets of unknown words keep their number.
    ends = [size.unigrams for size in sizes]
    buckets = transformed.UNIGRAMS.oov_buckets
    np.testing.assert_array_equal(
        towers.tokens.table[1 + ends[0] - buckets : 1 + ends[0]],
        earlier.towers.tokens.table[1 + ends[1] - buckets : 1 + ends[1]],
    )
    after = towers.item_fields[features.BRAND].table.numpy()
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_array_equal(after[2:], earlier.towers.item_fields[features.BRAND].table[1:])
    assert result.by_term[f"item_fields/{features.BRAND}/table"] == pytest.approx(1 - 1 / (len(after) - 1))


@pytest.mark.parametrize("model", ["two_tower", "mgdspr", "mmse"])
def test_another_model_type_takes_only_the_shared_parts(shop, earlier, model):
    towers = fresh_towers(TrainerConfig(model=model, **SMALL), shop.transform, earlier.table)
    before = {path: variable.numpy() for path, variable in towers.variables_by_path().items()}
    result = start_from(towers, shop.transform, earlier)
    after, theirs = towers.variables_by_path(), earlier.towers.variables_by_path()
    assert {"tokens/table", f"item_fields/{features.BRAND}/table"} <= set(result.by_term)
    tokens = theirs["tokens/table"].shape[0]
    np.testing.assert_array_equal(after["tokens/table"][:tokens], theirs["tokens/table"])
    np.testing.assert_array_equal(after["tokens/table"][tokens:], before["tokens/table"][tokens:])
    assert result.fresh
    for path in result.fresh:
        np.testing.assert_array_equal(after[path], before[path], err_msg=path)
    assert {*result.whole, *result.by_term, *result.fresh} == set(after)


def test_other_widths_start_fresh_and_the_log_says_which(shop, earlier):
    towers = fresh_towers(TrainerConfig(model="dpsr", **{**SMALL, "embedding_dim": 8}), shop.transform, earlier.table)
    result = start_from(towers, shop.transform, earlier)
    assert "tokens/table" in result.fresh
    assert "lexical/_weights/tokens/table" in result.by_term
    assert str(result).startswith("warm start from dpsr: ")
    assert "tokens/table" in str(result).partition("fresh ")[2]

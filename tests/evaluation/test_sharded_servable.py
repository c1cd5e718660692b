"""The gate over a servable in shards: what the shards of the same model answer together."""

import numpy as np
import pytest

from components.recall_gate.verdict import evaluate_and_judge
from evaluation.eval_set import read_catalog
from evaluation.judged import newest_version
from evaluation.servable import LoadedServable, holds_servable, retrieved
from schema.features import SIGNATURE_DEFAULT, SIGNATURE_QUERY_TEXT
from schema.settings import InputError
from schema.shards import SHARD_MAP_FILE, ShardMap
from tests.components.recall_gate.test_gate import CONFIG
from tests.evaluation import small_world as world

SHARDS = 3
SIZES = (134, 133, 133)


def save(payload, **flaw):
    """The shards of a model; a flaw is that of shard 1 alone."""
    folders = tuple(f"shard-{shard}-of-{SHARDS}" for shard in range(SHARDS))
    for shard, folder in enumerate(folders):
        world.save_servable(payload / folder, noise=0.1, shard=(shard, SHARDS), **(flaw if shard == 1 else {}))
    (payload / SHARD_MAP_FILE).write_text(ShardMap(items=SIZES, indexed_items=SIZES, folders=folders).to_json())
    return payload


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    return save(tmp_path_factory.mktemp("sharded"))


@pytest.fixture(scope="module")
def diverged(tmp_path_factory):
    return save(tmp_path_factory.mktemp("diverged"), scores_nan=True)


def test_shards_together_answer_as_the_catalog_in_one_piece(sharded, servables, examples_dir):
    catalog = read_catalog(examples_dir)
    examples = [world.search_example(request) for request in world.eval_requests(50)]
    whole, parts = LoadedServable(servables["good"]), LoadedServable(sharded)
    for signature, inputs in ((SIGNATURE_DEFAULT, examples), (SIGNATURE_QUERY_TEXT, [b"bage new", b"?"])):
        expected, merged = (retrieved(asked.ask(signature, inputs, 1), catalog) for asked in (whole, parts))
        np.testing.assert_allclose(merged.scores, expected.scores, rtol=1e-5)
        distinct = np.diff(expected.scores, axis=1).min(axis=1) < -1e-6
        np.testing.assert_array_equal(np.sort(merged.rows[distinct]), np.sort(expected.rows[distinct]))
    np.testing.assert_array_equal(parts.encode_query(examples), whole.encode_query(examples))
    assert parts.latencies_ms(examples[:3]).shape == (3,)


def test_the_merged_answer_is_what_is_judged(sharded, servables, examples_dir):
    whole, parts = (evaluate_and_judge(path, examples_dir, CONFIG) for path in (servables["good"], sharded))
    assert parts.verdict.blessed, parts.verdict.reasons
    expected, found = (
        {name: estimate.value for name, estimate in each.system("candidate").metrics.items()} for each in (whole, parts)
    )
    assert found == pytest.approx(expected)
    assert parts.index_recall.estimate == whole.index_recall.estimate
    assert (parts.card["shards"], parts.card["indexed_items"]) == (SHARDS, sum(SIZES))
    assert parts.card["history"] == whole.card["history"]


def test_one_shard_that_has_diverged_is_enough_to_be_refused(diverged, examples_dir):
    evaluation = evaluate_and_judge(diverged, examples_dir, CONFIG)
    assert not evaluation.verdict.blessed
    assert any("scores that are not numbers" in reason for reason in evaluation.verdict.reasons)


def test_a_map_finds_a_pushed_version_only_with_all_its_shards(sharded, tmp_path):
    pushed = tmp_path / "souk-in-3-shards" / "7"
    pushed.mkdir(parents=True)
    folders = tuple(f"../../souk-shard-{shard}-of-3/7" for shard in range(SHARDS))
    for shard in range(SHARDS):
        (tmp_path / f"souk-shard-{shard}-of-3").mkdir()
        (tmp_path / f"souk-shard-{shard}-of-3" / "7").symlink_to(sharded / f"shard-{shard}-of-3")
    (pushed / SHARD_MAP_FILE).write_text(ShardMap(items=SIZES, indexed_items=SIZES, folders=folders).to_json())
    assert newest_version(pushed.parent) == pushed
    assert len(LoadedServable(pushed).ask(SIGNATURE_QUERY_TEXT, [b"bage new"], 1)["item_ids"]) == 1
    (tmp_path / "souk-shard-2-of-3" / "7").unlink()
    assert not holds_servable(pushed)
    with pytest.raises(InputError, match="souk-shard-2-of-3/7 holds no"):
        LoadedServable(pushed)

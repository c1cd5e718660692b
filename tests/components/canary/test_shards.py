"""A candidate in shards, in a serving program of its own."""

from pathlib import Path

import pytest

from components.canary.config import CanaryConfig
from components.canary.probe import probe
from schema.shards import SHARD_MAP_FILE, ShardMap
from tests.components.canary.conftest import VERSION
from tests.serving import tiny_retriever

CONFIG = CanaryConfig(requests=8, batch_size=4, p99_limit_ms=None)
SHARDS = 2


@pytest.fixture
def sharded(tmp_path):
    def build(flaw: str = "none", placed: tuple[int, int] = (0, 1)) -> Path:
        """`placed`: which shard lies in which place; the flaw is in the second place."""
        sizes = [len(tiny_retriever.numbers_in(VERSION, (shard, SHARDS))) for shard in range(SHARDS)]
        folders = tuple(f"shard-{shard}-of-{SHARDS}" for shard in range(SHARDS))
        for place, shard in enumerate(placed):
            source = tiny_retriever.built(VERSION, flaw if place == 1 else "none", (shard, SHARDS))
            (tmp_path / folders[place]).symlink_to(source)
        (tmp_path / SHARD_MAP_FILE).write_text(ShardMap(items=sizes, indexed_items=sizes, folders=folders).to_json())
        return tmp_path

    return build


def test_each_shard_is_asked_and_then_all_as_a_client_asks_them(examples_uri, sharded):
    result = probe(sharded(), examples_uri, CONFIG)
    assert result.failures == ()
    assert (result.places, result.latency.requests) == (10, 8)
    assert len(result.edge_latency_ms) == 12


def test_a_flaw_of_one_shard_names_the_shard(examples_uri, sharded):
    result = probe(sharded("unsorted"), examples_uri, CONFIG)
    assert any(f.startswith("shard 1 of 2: the scores do not go down from place to place") for f in result.failures)
    assert not any(failure.startswith("shard 0 of 2") for failure in result.failures)


def test_shards_in_wrong_places_have_items_that_are_not_theirs(examples_uri, sharded):
    result = probe(sharded(placed=(1, 0)), examples_uri, CONFIG)
    for shard in range(SHARDS):
        assert any(f.startswith(f"shard {shard} of 2: an item is not in the catalog") for f in result.failures)


def test_a_candidate_without_one_of_its_shards_is_not_blessed(examples_uri, sharded):
    payload = sharded()
    (payload / "shard-1-of-2").unlink()
    (failure,) = probe(payload, examples_uri, CONFIG).failures
    assert "shard-1-of-2 holds no `saved_model.pb`" in failure

import dataclasses
import random

import numpy as np
import pytest
import tensorflow as tf

from components.hard_negatives.config import HardNegativesConfig
from components.hard_negatives.mining import Mined, draw, mine
from evaluation.servable import LoadedServable
from schema import features
from schema.features import Stage
from schema.settings import InputError
from tests.evaluation import small_world as world

# As many as the band holds, so that what is drawn is all that may be.
CONFIG = HardNegativesConfig(enabled=True, first_rank=31, last_rank=60, per_request=30, batch_size=64)
TWIN = "twin-of-item-000"


@pytest.fixture(scope="module")
def servable_dir(tmp_path_factory):
    return world.save_servable(tmp_path_factory.mktemp("servable") / "model", noise=0.3)


@pytest.fixture(scope="module")
def requests():
    """Those of the small world, some queries written another way, and one request that took the twin of an item."""
    made = world.train_requests()
    for number in range(0, len(made), 7):
        made[number] = dataclasses.replace(made[number], query=f" {made[number].query.upper().replace(' ', '  ')}")
    took_twin = dataclasses.replace(
        made[1], request_id="twin", query="a query of its own", items=(TWIN, "gone"), stages=(2, 3), positions=(1, 0)
    )
    return [*made, took_twin]


@pytest.fixture(scope="module")
def examples_dir(requests, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hard_negatives") / "examples"
    world.write_split(folder, features.TRAIN_SPLIT, [world.search_example(request) for request in requests], shards=3)
    world.write_split(folder, features.EVAL_SPLIT, [world.search_example(r) for r in world.eval_requests(20)])
    catalog = [world.catalog_example(item) for item in range(world.ITEMS)]
    # To the model of the small world an item that it does not know is the first one.
    twin = tf.train.Example.FromString(catalog[0])
    twin.features.feature[features.ITEM_ID].bytes_list.value[:] = [TWIN.encode()]
    world.write_split(folder, features.CATALOG_SPLIT, [*catalog, twin.SerializeToString()])
    return folder


@pytest.fixture(scope="module")
def mined(examples_dir, servable_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("mined")
    return mine(examples_dir, servable_dir, out, CONFIG), read(out)


def read(folder, split=features.TRAIN_SPLIT) -> dict[str, tf.train.Example]:
    """Examples by request id."""
    files = sorted(str(path) for path in (folder / f"Split-{split}").iterdir())
    parsed = [
        tf.train.Example.FromString(record) for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    ]
    return {values(example, features.REQUEST_ID)[0]: example for example in parsed}


def values(example, name) -> list[str]:
    return [value.decode() for value in example.features.feature[name].bytes_list.value]


def negatives_of(examples) -> dict[str, list[str]]:
    return {request_id: values(example, features.HARD_NEGATIVES) for request_id, example in examples.items()}


def normal(query: str) -> str:
    return " ".join(query.split()).lower()


def bands(requests, servable_dir, config) -> dict[str, set[str]]:
    """What each request may be given, by sorting all items and looking at every request of the query."""
    servable = LoadedServable(servable_dir)
    catalog = [world.item_id(item) for item in range(world.ITEMS)]
    vectors = servable.encode_items([world.catalog_example(item) for item in range(world.ITEMS)]).astype(np.float64)
    queries = servable.encode_query([world.search_example(request) for request in requests]).astype(np.float64)
    allowed = {}
    for request, heads in zip(requests, queries, strict=True):
        if max(request.stages) < Stage.CLICKED:
            allowed[request.request_id] = set()
            continue
        scores = {item: max(head @ vector for head in heads) for item, vector in zip(catalog, vectors, strict=True)}
        ranked = sorted(catalog, key=lambda item: -scores[item])
        band = set(ranked[config.first_rank - 1 : config.last_rank])
        for other in requests:
            if normal(other.query) == normal(request.query):
                band -= {item for item, stage in zip(other.items, other.stages, strict=True) if stage >= Stage.CLICKED}
        band -= set(request.items)
        allowed[request.request_id] = band - ({"item-000"} if TWIN in request.items else set())
    return allowed


def known(requests):
    """Those whose query the model tells apart; to one it does not know all items are alike."""
    texts = {world.query_text(query) for query in range(world.QUERIES)}
    return [request for request in requests if request.query in texts]


def test_negatives_are_band_items_nobody_took_for_the_query(mined, requests, servable_dir):
    found, asked = negatives_of(mined[1]), known(requests)
    expected = bands(requests, servable_dir, CONFIG)
    assert len(asked) > 700
    assert {r.request_id: set(found[r.request_id]) for r in asked} == {
        r.request_id: expected[r.request_id] for r in asked
    }
    assert any(len(band) < CONFIG.per_request for band in expected.values() if band), "nothing was excluded"


def test_no_item_is_drawn_twice_nor_any_for_an_idle_request(mined, requests):
    found = negatives_of(mined[1])
    assert all(len(items) == len(set(items)) for items in found.values())
    idle = [request.request_id for request in requests if max(request.stages) < Stage.CLICKED]
    assert idle
    assert all(found[request_id] == [] for request_id in idle)


def test_an_item_like_a_taken_one_to_the_model_is_no_negative(examples_dir, servable_dir, tmp_path):
    whole = CONFIG.model_copy(update={"first_rank": 1, "last_rank": world.ITEMS, "per_request": world.ITEMS})
    mine(examples_dir, servable_dir, tmp_path, whole)
    found = set(negatives_of(read(tmp_path))["twin"])
    assert found == {world.item_id(item) for item in range(1, world.ITEMS)}


def test_all_else_stays_as_it_was(mined, examples_dir):
    before, after = read(examples_dir), dict(mined[1])
    assert list(after) == list(before)
    for request_id, example in after.items():
        example = tf.train.Example.FromString(example.SerializeToString())
        example.features.feature.pop(features.HARD_NEGATIVES, None)
        assert example == before[request_id]


def test_eval_and_catalog_are_copied(examples_dir, servable_dir, tmp_path):
    mine(examples_dir, servable_dir, tmp_path, CONFIG)
    for split in (features.EVAL_SPLIT, features.CATALOG_SPLIT):
        files = sorted((examples_dir / f"Split-{split}").iterdir())
        assert files
        for file in files:
            assert (tmp_path / f"Split-{split}" / file.name).read_bytes() == file.read_bytes()


def test_the_summary_counts_what_was_written(mined, requests):
    summary, examples = mined
    found = [items for items in negatives_of(examples).values() if items]
    took = sum(max(request.stages) >= Stage.CLICKED for request in requests)
    assert summary == Mined(took, len(found), sum(map(len, found)))


def test_seed_and_request_decide_the_draw_not_files_or_batches(requests, examples_dir, servable_dir, tmp_path):
    few = CONFIG.model_copy(update={"per_request": 5})
    mine(examples_dir, servable_dir, tmp_path / "a", few)
    other_order = random.Random(3).sample(requests, len(requests))
    folder = tmp_path / "examples"
    world.write_split(folder, features.TRAIN_SPLIT, [world.search_example(request) for request in other_order])
    world.write_split(folder, features.EVAL_SPLIT, [])
    (folder / "Split-catalog").symlink_to(examples_dir / "Split-catalog")
    mine(folder, servable_dir, tmp_path / "b", few.model_copy(update={"batch_size": 17}))
    mine(examples_dir, servable_dir, tmp_path / "c", few.model_copy(update={"seed": 18}))
    first, second, reseeded = (negatives_of(read(tmp_path / name)) for name in "abc")
    assert max(map(len, first.values())) == 5
    assert first == second
    assert first != reseeded
    assert len({tuple(items) for items in first.values()}) > 500, "requests draw alike"


def test_only_so_many_requests_are_mined_for(examples_dir, servable_dir, tmp_path):
    assert mine(examples_dir, servable_dir, tmp_path, CONFIG.model_copy(update={"max_requests": 50})) == Mined(
        requests=811, mined_requests=50, negatives=sum(map(len, negatives_of(read(tmp_path)).values()))
    )


def test_before_there_is_a_blessed_model_all_passes_as_it_is(examples_dir, tmp_path):
    assert mine(examples_dir, None, tmp_path, CONFIG) == Mined()
    for file in sorted((examples_dir).glob("Split-*/*")):
        assert (tmp_path / file.parent.name / file.name).read_bytes() == file.read_bytes()


def test_a_band_that_begins_past_the_catalogs_end_is_refused(examples_dir, servable_dir, tmp_path):
    with pytest.raises(InputError, match=r"begins at rank 401.*only 400 items.*\(401 in all\).*first_rank"):
        mine(examples_dir, servable_dir, tmp_path, CONFIG.model_copy(update={"first_rank": 401, "last_rank": 500}))


def test_a_band_that_ends_past_the_catalogs_end_ends_there(examples_dir, servable_dir, tmp_path, caplog):
    mine(examples_dir, servable_dir, tmp_path, CONFIG.model_copy(update={"first_rank": 391, "last_rank": 500}))
    assert max(map(len, negatives_of(read(tmp_path)).values())) == 10
    assert "ends at rank 400, where the catalog ends" in caplog.text


def test_a_folder_without_the_splits_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no folder `Split-train`"):
        mine(tmp_path, None, tmp_path / "out", CONFIG)


def test_an_empty_band_is_refused():
    with pytest.raises(InputError, match=r"from `first_rank` 101 to `last_rank` 100 is empty"):
        HardNegativesConfig.parse({"last_rank": 100})


def test_the_draw_is_even():
    band, excluded = np.arange(100, 120), np.array([103, 7])
    counts = np.zeros(120)
    for number in range(2000):
        counts[draw(band, excluded, 4, f"request {number}".encode(), seed=1)] += 1
    assert counts[103] == 0
    drawn = counts[[row for row in range(100, 120) if row != 103]]
    # 2000 * 4 / 19 = 421 expected; five standard deviations are 91.
    assert drawn.sum() == 8000
    assert np.abs(drawn - 421).max() < 91

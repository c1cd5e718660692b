import pytest
import tensorflow as tf

from evaluation.eval_set import read_catalog, read_requests
from schema import features
from schema.features import Stage
from schema.settings import InputError
from tests.evaluation import small_world as world

GAINS = {2: 1.0, 3: 3.0}


def request(request_id, items, stages, positions=None, history=(), query="lamp"):
    return world.Request(
        request_id, "u", query, 1000, history, items, stages, positions or tuple(range(1, len(items) + 1))
    )


@pytest.fixture
def written(tmp_path):
    """Writes an Examples artifact with a catalog of three items and the given eval and train requests."""

    def write(eval_split, train_split=(), shards=1):
        catalog = [world.catalog_example(item) for item in range(3)]
        world.write_split(tmp_path, features.CATALOG_SPLIT, catalog)
        for split, requests in ((features.EVAL_SPLIT, eval_split), (features.TRAIN_SPLIT, train_split)):
            world.write_split(tmp_path, split, [world.search_example(one) for one in requests], shards)
        return tmp_path

    return write


def test_the_catalog_is_read_with_absent_values_as_empty(examples_dir):
    catalog = read_catalog(examples_dir)
    assert len(catalog) == world.ITEMS
    row = catalog.rows[world.item_id(5)]
    assert catalog.brands[row] == ""
    assert catalog.category_paths[row] == ("Home", "Topic 5")
    assert catalog.texts()[row] == f"{catalog.titles[row]} Home Topic 5"


def test_clicked_carted_and_ordered_items_are_relevant_by_worth(written):
    folder = written([request("r", ("item-002", "item-000", "item-001"), (1, 3, 2))])
    found = read_requests(folder, read_catalog(folder), 10, 0, GAINS)
    labels = zip(found.relevant.rows.tolist(), found.relevant.gains.tolist(), found.stages.tolist(), strict=True)
    assert sorted(labels) == [(0, 3.0, Stage.ORDERED), (1, 1.0, Stage.CLICKED)]
    assert found.shown.tolist() == [[2, 0, 1]]


def test_a_repeated_item_counts_once_with_its_furthest_stage(written):
    folder = written([request("r", ("item-001", "item-001"), (2, 3))])
    found = read_requests(folder, read_catalog(folder), 10, 0, GAINS)
    assert found.relevant.rows.tolist() == [1]
    assert found.stages.tolist() == [Stage.ORDERED]


def test_items_outside_of_the_catalog_count_and_cannot_be_found(written):
    folder = written([request("r", ("gone", "item-001", "gone too"), (2, 2, 2))])
    found = read_requests(folder, read_catalog(folder), 10, 0, GAINS)
    assert sorted(found.relevant.rows.tolist()) == [1, 3, 4]


def test_of_items_that_do_not_count_nothing_is_measured(written):
    """As if they had only been shown; their share is told."""
    folder = written(
        [
            request("a", ("gone", "item-001", "item-002"), (3, 2, 1)),
            request("b", ("gone",), (2,)),
            request("c", ("item-000", "item-002"), (2, 2)),
        ]
    )
    counted = {"item-001", "item-002"}
    found = read_requests(folder, read_catalog(folder), 10, 0, GAINS, counted)
    assert (found.read, found.usable, len(found)) == (3, 2, 2)
    assert sorted(found.relevant.rows.tolist()) == [1, 2]
    # Of five that were chosen two have gone; that another one does not count is no loss of the catalog's.
    assert found.gone == pytest.approx(2 / 5)
    assert len(read_requests(folder, read_catalog(folder), 10, 0, GAINS, frozenset())) == 0


def test_a_click_off_the_page_is_relevant_but_not_shown(written):
    folder = written([request("r", ("item-002", "item-001"), (2, 1), (0, 1))])
    found = read_requests(folder, read_catalog(folder), 10, 0, GAINS)
    assert found.relevant.rows.tolist() == [2]
    assert found.on_page.tolist() == [False]
    assert found.shown.tolist() == [[1]]


def test_requests_without_a_click_are_counted_but_not_measured(written):
    folder = written([request("a", ("item-000",), (1,)), request("b", ("item-000",), (2,)), request("c", (), ())])
    found = read_requests(folder, read_catalog(folder), 10, 0, GAINS)
    assert (found.read, found.usable, len(found)) == (3, 1, 1)


def test_a_servable_is_not_shown_what_came_of_the_request(examples_dir):
    found = read_requests(examples_dir, read_catalog(examples_dir), 50, 0, GAINS)
    for serialized in found.examples:
        names = set(tf.train.Example.FromString(serialized).features.feature)
        assert names == {"request_id", "user_id", "query", "timestamp_ms", "real_time_items"}


def test_history_tells_known_searchers_from_new_ones(written):
    folder = written([request("a", ("item-000",), (2,), history=("item-001",)), request("b", ("item-000",), (2,))])
    found = read_requests(folder, read_catalog(folder), 10, 0, GAINS)
    assert sorted(found.has_history.tolist()) == [False, True]


def test_the_sample_follows_the_seed_and_not_the_file_order(tmp_path, examples_dir):
    requests = world.eval_requests()
    catalog = read_catalog(examples_dir)
    ids = []
    for name, order, shards, seed in (("a", 1, 1, 0), ("b", -1, 3, 0), ("c", 1, 1, 1)):
        world.write_split(tmp_path / name, "eval", [world.search_example(one) for one in requests[::order]], shards)
        found = read_requests(tmp_path / name, catalog, 40, seed, GAINS)
        ids.append([tf.train.Example.FromString(e).features.feature["request_id"] for e in found.examples])
        assert len(found) == 40
        assert found.usable == sum(max(one.stages) >= 2 for one in requests)
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_only_items_shown_and_not_clicked_tell_of_impressions(written):
    clicked, shown = request("a", ("item-000",), (2,)), request("b", ("item-001",), (1,))
    for requests, known in (([clicked], False), ([clicked, shown], True)):
        folder = written(requests)
        # A log may end with one that led to nothing at all: it counts though it is not measured.
        assert read_requests(folder, read_catalog(folder), 10, 0, GAINS).has_impressions is known


def test_a_folder_without_the_split_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no folder `Split-catalog`.*souk ingest --out"):
        read_catalog(tmp_path)


def test_an_empty_catalog_is_named(tmp_path):
    world.write_split(tmp_path, features.CATALOG_SPLIT, [])
    with pytest.raises(InputError, match="holds no item"):
        read_catalog(tmp_path)


def test_clicks_on_unavailable_items_neither_count_nor_are_gone(written):
    folder = written([request("r", ("item-000", "item-001"), (2, 2)), request("s", ("item-001", "gone"), (2, 2))])
    examples = [tf.train.Example.FromString(world.catalog_example(item)) for item in range(3)]
    examples[1].features.feature[features.AVAILABLE].bytes_list.value.append(b"false")
    world.write_split(folder, features.CATALOG_SPLIT, [example.SerializeToString() for example in examples])
    catalog = read_catalog(folder)
    assert (sorted(catalog.rows), catalog.unavailable) == (["item-000", "item-002"], {"item-001"})
    assert len(catalog) == len(catalog.examples) == 2
    found = read_requests(folder, catalog, 10, 0, GAINS)
    assert [row for row in found.relevant.rows.tolist() if row < len(catalog)] == [0]
    assert (len(found.relevant.rows), found.gone) == (2, 0.25)

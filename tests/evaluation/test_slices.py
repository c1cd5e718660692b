import numpy as np

from evaluation.eval_set import normalize_query, read_catalog, read_requests
from evaluation.slices import make_slices, query_frequency
from evaluation.training_counts import read_training
from tests.evaluation import small_world as world


def test_head_torso_and_tail_each_get_about_a_third_of_requests():
    counts = {f"q{n:03d}": max(1, 300 // (n + 1)) for n in range(300)}
    names = query_frequency(counts)
    total = sum(counts.values())
    shares = {kind: sum(counts[q] for q in counts if names[q] == kind) / total for kind in ("head", "torso", "tail")}
    assert all(0.2 < share < 0.45 for share in shares.values()), shares
    assert min(counts[q] for q in counts if names[q] == "head") >= max(counts[q] for q in counts if names[q] == "tail")


def test_the_only_query_is_head():
    assert query_frequency({"a": 5}) == {"a": "head"}
    assert query_frequency({}) == {}


def test_slices_hold_the_requests_that_they_name(examples_dir):
    catalog = read_catalog(examples_dir)
    training = read_training(examples_dir, catalog)
    requests = read_requests(examples_dir, catalog, 10_000, 0, {2: 1.0, 3: 3.0})
    slices = {piece.key: piece for piece in make_slices(requests, catalog, training)}

    frequencies = [slices[f"query_frequency={name}"].requests for name in ("head", "torso", "tail", "unseen")]
    assert np.sum(frequencies, axis=0).tolist() == [1] * len(requests)
    trained = {normalize_query(one.query) for one in world.train_requests()}
    unseen = [normalize_query(query) not in trained for query in requests.queries]
    assert slices["query_frequency=unseen"].requests.tolist() == unseen
    assert (slices["history=with"].requests ^ slices["history=without"].requests).all()

    new = slices["items=new"]
    clicked = {item for one in world.train_requests() for item, s in zip(one.items, one.stages, strict=True) if s >= 2}
    expected = [catalog.item_ids[row] not in clicked for row in requests.relevant.rows]
    assert new.items.tolist() == expected
    assert new.requests.sum() == len(
        {int(r) for r, is_new in zip(requests.relevant.request, expected, strict=True) if is_new}
    )

    on_page = slices["exposure=on_page"]
    assert on_page.items.all()
    assert "exposure=off_page" not in slices

    outdoors = slices["top_category=Outdoors"]
    tops = [catalog.top_categories[row] == "Outdoors" for row in requests.relevant.rows]
    assert outdoors.items.tolist() == tops


def test_only_the_most_wanted_categories_get_a_slice(examples_dir):
    catalog = read_catalog(examples_dir)
    requests = read_requests(examples_dir, catalog, 10_000, 0, {2: 1.0, 3: 3.0})
    slices = make_slices(requests, catalog, read_training(examples_dir, catalog), categories=1)
    assert sum(piece.group == "top_category" for piece in slices) == 1

import os

import numpy as np
import pytest
import tensorflow as tf

from schema import features, transformed
from tests.small_shop import serialize, write_examples
from trainer.config import HistoryConfig, TrainerConfig
from trainer.input import (
    SearchReader,
    in_validation,
    page_stages,
    positive_counts,
    read_requests,
    shuffled_batches,
    split_requests,
    training_batches,
)

CONFIG = TrainerConfig(query_units=3, max_positives=2, batch_size=16, history=HistoryConfig(real_time_items=2))
READER = SearchReader(CONFIG, ("profile_gender",))


def request(n: int) -> dict[str, list[int]]:
    return {"query_unigrams": [n], "items": [n, 500], "stages": [2 + n % 2, 1], "positions": [1, 2]}


@pytest.fixture
def files(tmp_path):
    paths = []
    for part in range(3):
        path = tmp_path / f"part-{part}.gz"
        write_examples(path, [request(n) for n in range(part * 100, part * 100 + 100)])
        paths.append(str(path))
    return paths


def items_of(batches: tf.data.Dataset) -> list[int]:
    return [int(item) for batch in batches for item in batch[features.ITEMS][:, 0]]


def test_only_requests_that_led_to_a_click_or_better_are_kept():
    rows = [
        {"query_unigrams": [4, 5, 6, 7], "items": [8, 9, 7], "stages": [1, 2, 3]},
        {"query_unigrams": [1], "items": [8], "stages": [1]},
        {"query_unigrams": [2]},
        {"query_unigrams": [3], "items": [1], "stages": [3], "profile_gender": [1], "real_time_items": [0, 1, 2]},
    ]
    batch = READER.parse(tf.constant([serialize(row) for row in rows]))
    np.testing.assert_array_equal(batch[features.ITEMS], [[10, 8], [2, 0]])
    np.testing.assert_array_equal(batch[features.STAGES], [[2, 3], [3, 0]])
    np.testing.assert_array_equal(batch[transformed.QUERY_UNIGRAMS], [[5, 6, 7], [4, 0, 0]])
    np.testing.assert_array_equal(batch[features.REAL_TIME_ITEMS], [[0, 0], [1, 2]])
    np.testing.assert_array_equal(batch["profile_gender"], [[0], [2]])


@pytest.mark.parametrize(
    ("positions", "expected"), [([1, 2, 0, 0], [3, 0]), ([0, 1, 0, 2], [0, 2]), ([0, 0, 0, 0], [3, 2])]
)
def test_a_click_off_the_page_has_no_stage_to_rank_by(positions, expected):
    """Unless the log has no positions."""
    parsed = {
        features.STAGES: tf.ragged.constant([[3, 1, 1, 2], []], dtype=tf.int64, ragged_rank=1),
        features.POSITIONS: tf.ragged.constant([positions, []], dtype=tf.int64, ragged_rank=1),
    }
    np.testing.assert_array_equal(page_stages(parsed, 2), [expected, [0, 0]])


def test_validation_and_training_share_no_request_and_lose_none(files):
    config = CONFIG.model_copy(update={"validation_share": 0.2})
    reader = SearchReader(config, ())
    train = items_of(read_requests(reader, files, validation=False))
    validation = items_of(read_requests(reader, files, validation=True))
    assert not set(train) & set(validation)
    assert sorted(train + validation) == list(range(1, 301))
    assert 30 < len(validation) < 90


def test_each_epoch_sees_every_request_once_in_its_own_order(files):
    requests = read_requests(SearchReader(CONFIG, ()), files, validation=False)
    batches = shuffled_batches(requests, CONFIG)
    first, second = items_of(batches), items_of(shuffled_batches(requests, CONFIG, 1))
    assert sorted(first) == sorted(second) == sorted(items_of(requests))
    assert first != second
    assert [len(batch[features.ITEMS]) for batch in batches][:-1] == [16] * (len(first) // 16)


def test_seed_and_epoch_fix_orders_so_training_starts_anywhere(files):
    def batches(first_epoch: int = 0, first_batch: int = 0, seed: int = 17) -> list[list[int]]:
        config = CONFIG.model_copy(update={"seed": seed})
        requests = read_requests(SearchReader(config, ()), files, validation=False)
        stream = training_batches(requests, config, range(first_epoch, 3), first_batch)
        return [batch[features.ITEMS][:, 0].numpy().tolist() for batch in stream]

    tf.random.set_seed(17)
    whole = batches()
    steps = len(whole) // 3
    orders = [tuple(map(tuple, whole[epoch * steps : (epoch + 1) * steps])) for epoch in range(3)]
    assert len(set(orders)) == 3
    tf.random.set_seed(17)
    assert batches(1, 4) == whole[steps + 4 :]
    assert batches(3) == []
    assert batches(seed=18) != whole


@pytest.mark.parametrize(("least", "share"), [(0, 0.05), (10, 0.05), (30, 0.1), (1000, 0.2)])
def test_a_small_log_gives_up_to_a_fifth_to_validation(files, least, share):
    config = CONFIG.model_copy(update={"validation_share": 0.05, "min_validation_requests": least})
    split = split_requests(SearchReader(config, ()), files)
    kept_out = items_of(split.validation)
    assert sorted(items_of(split.training) + kept_out) == list(range(1, 301))
    assert split.count == len(items_of(split.training))
    assert split.validation_share == pytest.approx(share)
    assert len(kept_out) == pytest.approx(300 * share, abs=4 * (300 * share * (1 - share)) ** 0.5)


def test_only_its_id_decides_if_a_request_is_in_validation(tmp_path):
    ids = [f"r{number}".encode() for number in range(200)]
    rows = [{"request_id": [i], "items": [n], "stages": [2]} for n, i in enumerate(ids)]
    write_examples(tmp_path / "part.gz", rows + [{**row, "query_unigrams": [7]} for row in rows])
    config = CONFIG.model_copy(update={"validation_share": 0.2})
    found = items_of(read_requests(SearchReader(config, ()), [str(tmp_path / "part.gz")], validation=True))
    expected = [n + 1 for n, kept_out in enumerate(in_validation(tf.constant(ids), 0.2).numpy()) if kept_out]
    assert 20 < len(expected) < 60
    assert sorted(found) == sorted(2 * expected)


def test_requests_are_read_from_their_files_once(files):
    requests = read_requests(SearchReader(CONFIG, ()), files, validation=False)
    before = items_of(requests)
    for path in files:
        os.remove(path)
    assert sorted(items_of(training_batches(requests, CONFIG, range(1)))) == sorted(before)


def test_positives_are_counted_by_row(files):
    requests = read_requests(SearchReader(CONFIG, ()), files, validation=False)
    counts = positive_counts(requests, 600)
    assert counts.shape == (601,)
    assert counts.sum() == len(items_of(requests))
    assert counts[500] == 0


def test_without_history_and_profile_neither_is_read():
    config = TrainerConfig(profile=False, history=HistoryConfig(enabled=False))
    widths = SearchReader(config, ("profile_gender",)).query_widths()
    assert set(widths) == {transformed.QUERY_UNIGRAMS, transformed.QUERY_BIGRAMS, transformed.QUERY_SUBWORDS}

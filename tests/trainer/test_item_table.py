import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from schema import features, transformed
from tests.small_shop import write_examples
from trainer.config import TrainerConfig
from trainer.item_table import (
    ItemReader,
    ItemTable,
    gather,
    padded,
    padded_together,
    read_item_table,
    stacked,
)

CATALOG = [
    {
        "item_row": [1],
        "title_unigrams": [5, 6, 7],
        "title_bigrams": [1],
        "brand": [0],
        "price_bucket": [12],
        "text_story": [4, 2, 0],
        "categorical_color": [3],
    },
    {"item_row": [0], "title_unigrams": [9]},
]
IDS = [b"x", b"y"]
READER = ItemReader(TrainerConfig(title_units=2, text_units=2), ("categorical_color", "text_story"))


@pytest.fixture
def files(tmp_path):
    write_examples(tmp_path / "catalog.gz", CATALOG)
    return [str(tmp_path / "catalog.gz")]


def test_rows_follow_the_vocabulary_and_ids_are_shifted_by_one(files):
    table = read_item_table(READER, files, IDS)
    np.testing.assert_array_equal(table.columns[transformed.TITLE_UNIGRAMS], [[10, 0], [6, 7], [0, 0]])
    np.testing.assert_array_equal(table.columns[features.BRAND], [0, 1, 0])
    np.testing.assert_array_equal(table.columns[transformed.PRICE_BUCKET], [0, 13, 0])
    np.testing.assert_array_equal(table.columns["text_story"], [[0, 0], [5, 3], [0, 0]])
    np.testing.assert_array_equal(table.columns["categorical_color"], [0, 4, 0])
    assert table.size == 2


def test_a_catalog_of_another_transform_is_refused(files):
    with pytest.raises(ValueError, match=r"has 2 of the 3 items.*transform that made the vocabulary"):
        read_item_table(READER, files, [*IDS, b"z"])


def test_save_and_load_give_the_same_table(files, tmp_path):
    table = read_item_table(READER, files, IDS)
    table.save(tmp_path / "table.npz")
    loaded = ItemTable.load(tmp_path / "table.npz")
    assert loaded.item_ids.tolist() == IDS
    assert loaded.columns.keys() == table.columns.keys()
    for name, column in table.columns.items():
        np.testing.assert_array_equal(loaded.columns[name], column)


def test_gather_joins_every_feature_by_row(files):
    table = read_item_table(READER, files, IDS)
    joined = gather(table.as_tensors(), tf.constant([[1, 2], [0, 1]]))
    assert joined[transformed.TITLE_UNIGRAMS].shape == (2, 2, 2)
    np.testing.assert_array_equal(joined[features.BRAND], [[1, 0], [0, 1]])


def test_padding_cuts_shifts_and_fills():
    ragged = tf.ragged.constant([[0, 1, 2], [], [5]], dtype=tf.int64)
    np.testing.assert_array_equal(padded(ragged, 2), [[1, 2], [0, 0], [6, 0]])
    np.testing.assert_array_equal(padded(ragged.to_sparse(), 2), [[1, 2], [0, 0], [6, 0]])


@given(st.data(), st.integers(0, 3))
def test_lists_padded_together_equal_those_padded_alone(data, rows):
    ids = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=rows, max_size=rows)
    lists = [tf.ragged.constant(data.draw(ids), tf.int64, ragged_rank=1, row_splits_dtype=tf.int64) for _ in range(4)]
    widths = data.draw(st.lists(st.integers(1, 5), min_size=4, max_size=4))
    sparse = [one.to_sparse() for one in lists]
    count = tf.constant(rows, tf.int64)
    below = stacked(sparse[2:], [count, count])
    together = padded_together([*sparse[:2], below], widths, below=2)
    for one, width, found in zip(lists, widths, together, strict=True):
        np.testing.assert_array_equal(found, padded(one, width))

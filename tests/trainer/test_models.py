import numpy as np
import pytest
import tensorflow as tf

from schema import features
from trainer import artifact
from trainer.config import HistoryConfig, TrainerConfig
from trainer.input import SearchReader
from trainer.item_table import ItemTable, column_widths
from trainer.models import InputSizes

SIZES = InputSizes(50, 60, 5, 6, 4, 3, {"profile_gender": 3})
CONFIGS = {
    "two_tower": TrainerConfig(model="two_tower", heads=1, embedding_dim=8, dim=4, hidden=(32,)),
    "dpsr 1 head": TrainerConfig(model="dpsr", heads=1, embedding_dim=8, dim=4, hidden=(32,)),
    "dpsr 3 heads": TrainerConfig(model="dpsr", heads=3, embedding_dim=8, dim=4, hidden=(32,)),
    "dpsr, nobody": TrainerConfig(
        model="dpsr", heads=2, embedding_dim=8, dim=4, hidden=(), profile=False, history=HistoryConfig(enabled=False)
    ),
}


def make_table(items: int = 7, title_units: int = 5) -> ItemTable:
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 40, (items + 1, width)) for name, width in column_widths(title_units).items()}
    columns |= {name: rng.integers(0, size + 1, items + 1) for name, size in SIZES.categories.items()}
    for column in columns.values():
        column[-1] = 0
    ids = np.array([f"i{n}".encode() for n in range(items)])
    return ItemTable(ids, {name: column.astype(np.int32) for name, column in columns.items()})


def make_query(reader: SearchReader, batch: int = 3) -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(1)
    return {
        name: tf.constant(rng.integers(0, 4, (batch, width)), tf.int32) for name, width in reader.query_widths().items()
    }


def make(config: TrainerConfig):
    table = make_table()
    reader = SearchReader(config, tuple(SIZES.profile))
    towers = artifact.make_towers(config, SIZES)
    artifact.build(towers, reader, table)
    return towers, reader, table


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_towers_give_unit_vectors_of_the_configured_shape(config):
    towers, reader, table = make(config)
    query = towers.encode_query(make_query(reader), table.as_tensors())
    items = towers.encode_items(table.as_tensors())
    assert query.shape == (3, config.heads, config.dim)
    assert items.shape == (table.size + 1, config.dim)
    np.testing.assert_allclose(np.linalg.norm(query, axis=-1), np.ones((3, config.heads)), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(items[:-1], axis=-1), np.ones(table.size), rtol=1e-4)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_wider_padding_changes_no_vector(config):
    towers, reader, table = make(config)
    query = make_query(reader)
    wider = {name: tf.pad(ids, [[0, 0], [0, 0 if name.startswith("profile") else 3]]) for name, ids in query.items()}
    columns = table.as_tensors()
    np.testing.assert_allclose(
        towers.encode_query(wider, columns), towers.encode_query(query, columns), rtol=1e-4, atol=1e-6
    )


def test_heads_differ_and_history_and_profile_move_the_query():
    towers, reader, table = make(CONFIGS["dpsr 3 heads"])
    query, columns = make_query(reader), table.as_tensors()
    vectors = towers.encode_query(query, columns).numpy()
    assert not np.allclose(vectors[:, 0], vectors[:, 1])
    for name in (features.REAL_TIME_ITEMS, features.LONG_TERM_ORDERS, "profile_gender"):
        other = {**query, name: tf.zeros_like(query[name])}
        assert not np.allclose(towers.encode_query(other, columns), vectors), name


def test_the_unknown_item_in_a_history_is_like_an_item_without_fields():
    towers, _, table = make(CONFIGS["dpsr 1 head"])
    columns = table.as_tensors()
    history = tf.constant([[table.size + 1] + [0] * 19])
    np.testing.assert_array_equal(towers.behaviour(history, columns), np.zeros((1, 8)))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_every_weight_learns(config):
    towers, reader, table = make(config)
    with tf.GradientTape() as tape:
        query = towers.encode_query(make_query(reader), table.as_tensors())
        items = towers.encode_items(table.as_tensors())
        score = towers.training_score(tf.einsum("bhd,nd->bhn", query, items))
        loss = tf.reduce_sum(score * tf.range(float(table.size + 1)))
    gradients = tape.gradient(loss, towers.trainable_variables)
    unmoved = [v.name for v, g in zip(towers.trainable_variables, gradients, strict=True) if g is None]
    assert not unmoved

import numpy as np
import pytest
import tensorflow as tf

from schema import features, transformed
from trainer import artifact
from trainer.config import HistoryConfig, LossConfig, TextEncoderConfig, TrainerConfig
from trainer.input import SearchReader
from trainer.item_table import ItemReader, ItemTable
from trainer.models import InputSizes
from trainer.models.catalog_start import start_from_catalog

COLUMNS = {"text_description": 50, "categorical_color": 7, "numeric_rating": transformed.NUMERIC_BUCKETS}
SIZES = InputSizes(50, 60, 30, 20, 5, 6, 4, 3, {"profile_gender": 3}, COLUMNS)
CONFIGS = {
    "two_tower": TrainerConfig(model="two_tower", embedding_dim=8, dim=4, hidden=(32,)),
    "dpsr 1 head": TrainerConfig(model="dpsr", embedding_dim=8, dim=4, hidden=(32,)),
    "dpsr 3 heads": TrainerConfig(model="dpsr", heads=3, embedding_dim=8, dim=4, hidden=(32,)),
    "mgdspr": TrainerConfig(model="mgdspr", embedding_dim=8, dim=8, attention_heads=2, profile=False),
    "mgdspr, nothing but the query": TrainerConfig(
        model="mgdspr",
        embedding_dim=8,
        dim=8,
        attention_heads=2,
        multi_grain=False,
        fusion=False,
        lexical_skip=False,
        history=HistoryConfig(enabled=False),
    ),
    "mgdspr, no fusion": TrainerConfig(model="mgdspr", embedding_dim=8, dim=8, attention_heads=2, fusion=False),
    "mmse": TrainerConfig(
        model="mmse",
        embedding_dim=8,
        dim=4,
        hidden=(32,),
        loss=LossConfig(ranking_weight=1.0, ranking_kind="levels"),
    ),
    "mmse, fused before": TrainerConfig(model="mmse", embedding_dim=8, dim=4, hidden=(32,), fusion=False),
    "mmse, one grain": TrainerConfig(
        model="mmse", embedding_dim=8, dim=4, profile=False, multi_grain=False, history=HistoryConfig(enabled=False)
    ),
    "dpsr, nobody": TrainerConfig(
        model="dpsr", heads=2, embedding_dim=8, dim=4, hidden=(), profile=False, history=HistoryConfig(enabled=False)
    ),
}


def make_table(items: int = 7) -> ItemTable:
    rng = np.random.default_rng(0)
    reader = ItemReader(TrainerConfig(title_units=5, title_subwords=9, text_units=6), tuple(COLUMNS))
    columns = {
        name: rng.integers(1, 40, (items + 1, width)) * (np.arange(width) < rng.integers(0, width + 1, (items + 1, 1)))
        for name, width in reader.widths().items()
    }
    columns[transformed.CLICKED_UNIGRAMS] = rng.integers(0, 40, (items + 1, 3))
    columns[transformed.CLICKED_COUNTS] = rng.integers(1, 3, (items + 1, 3))
    columns |= {name: rng.integers(0, size + 1, items + 1) for name, size in SIZES.categories.items()}
    columns[transformed.ITEM_ROW] = np.arange(1, items + 2)
    for column in columns.values():
        column[-1] = 0
    ids = np.array([f"i{n}".encode() for n in range(items)])
    return ItemTable(ids, {name: column.astype(np.int32) for name, column in columns.items()})


def make_query(reader: SearchReader, batch: int = 3) -> dict[str, tf.Tensor]:
    """Random requests with lists of all lengths, padding last; the first has all full, the last is of nobody."""
    rng = np.random.default_rng(1)
    query = {}
    for name, width in reader.query_widths().items():
        ids, lengths = rng.integers(1, 4, (batch, width)), rng.integers(0, width + 1, (batch, 1))
        if name == transformed.QUERY_UNIGRAMS:
            lengths = np.maximum(lengths, 1)
        lengths[0] = width
        if name == transformed.HISTORY_QUERY_INDEX:
            ids = np.sort(ids, axis=1)
        if name == transformed.HISTORY_QUERY_UNIGRAMS:
            history_lengths = lengths
        ids *= np.arange(width) < (history_lengths if name == transformed.HISTORY_QUERY_INDEX else lengths)
        if "query" not in name or "history" in name:
            ids[-1] = 0
        query[name] = tf.constant(ids, tf.int32)
    return query


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
def test_encoded_words_follow_the_learned_vector(config):
    encoder = TextEncoderConfig(folder="models/encoder", dim=2, share=0.25)
    towers, reader, table = make(config.model_copy(update={"text_encoder": encoder}))
    vectors = np.random.default_rng(2).normal(size=(SIZES.unigrams - 10, 2))
    start_from_catalog(towers, table, vectors)
    columns, query = table.as_tensors(), make_query(reader)
    texts = np.concatenate([columns[transformed.TITLE_UNIGRAMS], columns[transformed.ATTRIBUTE_UNIGRAMS]], axis=1)

    def expected(words: np.ndarray) -> np.ndarray:
        held = [sum(word in text for text in texts[:-1]) for word in range(1, len(vectors) + 1)]
        weights = [np.sqrt(np.log1p(table.size / max(0.5, count))) for count in held]
        known = [vectors[word - 1] * weights[word - 1] for word in words if 0 < word <= len(vectors)]
        total = np.sum([*known, np.zeros(2)], axis=0)
        return total * 0.5 / max(np.linalg.norm(total), 1e-6)

    items = towers.encode_items(columns)
    np.testing.assert_allclose(items[:, config.dim :], [expected(text) for text in texts], rtol=1e-4, atol=1e-6)
    of_query = towers.encode_query(query, columns)
    assert of_query.shape == (3, config.heads, config.dim + 2)
    for head in range(config.heads):
        found = of_query[:, head, config.dim :]
        words = query[transformed.QUERY_UNIGRAMS].numpy()
        np.testing.assert_allclose(found, [expected(text) for text in words], rtol=1e-4, atol=1e-6)


def widened(query: dict[str, tf.Tensor], by: int) -> dict[str, tf.Tensor]:
    return {name: tf.pad(ids, [[0, 0], [0, 0 if name.startswith("profile") else by]]) for name, ids in query.items()}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_wider_padding_changes_no_vector(config):
    towers, reader, table = make(config)
    query, columns = make_query(reader), table.as_tensors()
    np.testing.assert_allclose(
        towers.encode_query(widened(query, 3), columns), towers.encode_query(query, columns), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_vector_does_not_depend_on_the_batch_it_is_in(config):
    """Lists are padded to the longest of their batch: neither that padding nor the other rows may show."""
    towers, reader, table = make(config)
    query, columns = make_query(reader, batch=4), table.as_tensors()
    together = towers.encode_query(query, columns).numpy()
    for row in range(4):
        alone = towers.encode_query({name: ids[row : row + 1] for name, ids in query.items()}, columns)
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4, atol=1e-5)
    items = towers.encode_items(columns).numpy()
    for row in range(table.size):
        alone = towers.encode_items({name: column[row : row + 1] for name, column in columns.items()})
        np.testing.assert_allclose(alone[0], items[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, config in CONFIGS.items()
        if config.history.enabled and config.heads == 1 and config.model != "two_tower"
    ],
)
def test_each_part_of_behavior_moves_the_query(name):
    towers, reader, table = make(CONFIGS[name])
    query, columns = make_query(reader), table.as_tensors()
    vectors = towers.encode_query(query, columns).numpy()
    for feature in (*features.BEHAVIOR_ITEM_FEATURES, transformed.HISTORY_QUERY_UNIGRAMS):
        other = {**query, feature: tf.zeros_like(query[feature])}
        if feature == transformed.HISTORY_QUERY_UNIGRAMS:
            other[transformed.HISTORY_QUERY_INDEX] = tf.zeros_like(query[transformed.HISTORY_QUERY_INDEX])
        assert not np.allclose(towers.encode_query(other, columns), vectors), feature


@pytest.mark.parametrize("field", SIZES.categories)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_each_field_moves_the_item(config, field):
    towers, _, table = make(config)
    columns = dict(table.as_tensors())
    before = towers.encode_items(columns).numpy()
    columns[field] = 1 + columns[field] % SIZES.categories[field]
    assert not np.any(np.all(np.isclose(towers.encode_items(columns), before, atol=1e-7), axis=1))


def test_mgdspr_tells_spans_of_behavior_apart():
    towers, _, _ = make(CONFIGS["mgdspr"])
    grains, one, other = (tf.random.stateless_normal([2, 6, 8], [3, n]) for n in range(3))
    fused = towers.fuse([grains, one, other, one]).numpy()
    assert not np.allclose(towers.fuse([grains, other, one, one]), fused)


def test_where_nobody_has_behavior_the_lstm_learns_nothing():
    """Its op leaves the gradient of an empty batch as it finds the memory: only some of the steps would fail."""
    towers, reader, table = make(CONFIGS["mgdspr"])
    query, columns = make_query(reader), table.as_tensors()
    query[features.REAL_TIME_ITEMS] = tf.zeros_like(query[features.REAL_TIME_ITEMS])
    weights = towers.real_time_lstm.trainable_variables

    @tf.function
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            score = tf.reduce_sum(towers.encode_query(query, columns, training=True)[..., 0])
        return tape.gradient(score, weights)

    for _ in range(5):
        for gradient in gradients():
            np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


def test_heads_differ_and_history_and_profile_move_the_query():
    towers, reader, table = make(CONFIGS["dpsr 3 heads"])
    query, columns = make_query(reader), table.as_tensors()
    vectors = towers.encode_query(query, columns).numpy()
    assert not np.allclose(vectors[:, 0], vectors[:, 1])
    for name in (features.REAL_TIME_ITEMS, features.LONG_TERM_ORDERS, "profile_gender"):
        other = {**query, name: tf.zeros_like(query[name])}
        assert not np.allclose(towers.encode_query(other, columns), vectors), name


def test_an_unknown_item_in_history_is_like_one_without_fields():
    towers, _, table = make(CONFIGS["dpsr 1 head"])
    lists = {name: tf.constant([[table.size + 1] + [0] * 19]) for name in features.BEHAVIOR_ITEM_FEATURES}
    np.testing.assert_array_equal(towers.behavior(lists, table.as_tensors()), np.zeros((1, 5, 8)))


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


def test_words_start_with_their_rarity_in_the_catalog():
    towers, _, table = make(CONFIGS["dpsr 1 head"])
    start_from_catalog(towers, table, None)
    held = [
        set(title) | set(attributes) - {0} | {SIZES.unigrams + bigram for bigram in bigrams if bigram}
        for title, attributes, bigrams in zip(
            table.columns[transformed.TITLE_UNIGRAMS][:-1].tolist(),
            table.columns[transformed.ATTRIBUTE_UNIGRAMS][:-1].tolist(),
            table.columns[transformed.TITLE_BIGRAMS][:-1].tolist(),
            strict=True,
        )
    ]
    weights = np.log1p(np.exp(towers.lexical._weights["tokens"].table.numpy()[:, 0]))
    for token in range(1, towers.tokens.size + 1):
        frequency = max(0.5, sum(token in words for words in held))
        share = 1.0 if token <= SIZES.unigrams else 0.1
        assert weights[token] == pytest.approx(np.sqrt(np.log1p(table.size / frequency)) * share, rel=1e-3)


def test_a_model_without_words_of_its_own_starts_as_it_is():
    towers, _, table = make(CONFIGS["two_tower"])
    start_from_catalog(towers, table, None)
    assert towers.lexical is None


def test_no_clicked_words_are_read_where_none_are_kept():
    towers, _, table = make(CONFIGS["dpsr 1 head"])
    columns = table.as_tensors()
    none = {**columns, transformed.CLICKED_UNIGRAMS: columns[transformed.CLICKED_UNIGRAMS][:, :0]}
    empty = {**columns, transformed.CLICKED_UNIGRAMS: tf.zeros_like(columns[transformed.CLICKED_UNIGRAMS])}
    np.testing.assert_allclose(towers.encode_items(none), towers.encode_items(empty), rtol=1e-5)


@pytest.mark.parametrize("trainable", [False, True])
def test_the_loss_sees_an_encoder_only_where_it_is_trained(trainable):
    encoder = TextEncoderConfig(folder="models/encoder", dim=2, trainable=trainable)
    config = CONFIGS["dpsr 1 head"].model_copy(update={"text_encoder": encoder})
    towers, reader, table = make(config)
    width = config.vector_dim if trainable else config.dim
    assert towers.encode_query(make_query(reader), table.as_tensors(), training=True).shape[-1] == width
    assert towers.encode_items(table.as_tensors(), training=True).shape[-1] == width


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_shared_tables_give_the_vectors_of_separate_ones(config):
    towers, reader, table = make(config)
    query = make_query(reader)
    items = {name: tf.constant(column) for name, column in table.columns.items()}
    expected = towers.encode_query(query, items).numpy(), towers.encode_items(items).numpy()
    towers.share_tables()
    served = {name: tf.constant(column) for name, column in towers.served_columns(table.columns).items()}
    # The sums run in another order, and which one is the machine's.
    np.testing.assert_allclose(towers.encode_query(query, served), expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(towers.encode_items(items), expected[1], rtol=1e-4, atol=1e-5)
    # A table that became part of the shared one is not held, and not saved, beside it.
    names = [variable.name for variable in towers.served_variables]
    assert not any(name.endswith("tokens/table:0") for name in names)
    assert "tables:0" in names

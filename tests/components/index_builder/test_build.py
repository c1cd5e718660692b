import json
import os
import pickle

import numpy as np
import pytest
import tensorflow as tf

from components.index_builder.catalog import CatalogEncoder, SharedModel, read_parts, rows_to_index
from components.index_builder.config import IndexConfig
from components.index_builder.lexical.terms import folds_plurals
from schema.settings import InputError
from tests.components.index_builder.conftest import CONFIG, TWIN
from tests.small_shop import ALL_CATALOG, COLORS, THINGS, serialize
from trainer.recall import ExactMetrics


def test_of_items_that_are_alike_only_one_is_indexed(built):
    assert built.summary.catalog_items == len(ALL_CATALOG) + 1
    assert built.summary.indexed_items == len(ALL_CATALOG)


def test_the_card_says_what_was_built(built):
    card = built.card()
    assert (card["model"], card["k"], card["heads"], card["dim"]) == ("dpsr", CONFIG.k, 2, 16)
    assert card["index"] == "exact"
    assert [point["name"] for point in card["index_curve"] if point["chosen"]] == ["exact"]
    assert card["history"]["loss"]
    # The small shop has fewer validation requests than a weight can be chosen on.
    assert (card["retrieval"], card["dense_weight"], card["dense_weight_curve"]) == ("hybrid", 0.5, [])
    assert card["lexical_terms"] > len(COLORS) + len(THINGS)
    assert card["lexical_postings"] > len(ALL_CATALOG)


def test_plurals_are_folded_as_the_models_transform_folds_them(built):
    assert folds_plurals(built.model.transform)


def test_warmup_requests_are_those_that_the_server_replays(built):
    from tensorflow_serving.apis import prediction_log_pb2

    path = os.path.join(built.servable_dir, "assets.extra", "tf_serving_warmup_requests")
    logs = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(path)]
    signatures = [log.predict_log.request.model_spec.signature_name for log in logs]
    # Three requests, six options of the first one, a query alone.
    assert signatures == ["serving_default"] * 9 + ["query_text"]
    sent = [example for log in logs[3:9] for example in log.predict_log.request.inputs["examples"].string_val]
    given = [tf.train.Example.FromString(example).features.feature for example in sent]
    assert [one["retrieval"].bytes_list.value[:] for one in given[:3]] == [[b"dense"], [b"lexical"], [b"hybrid"]]
    assert "relevance_control" in given[4]
    assert "filter_brand" in given[5]
    for log in logs:
        request = log.predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        assert built.signatures[request.model_spec.signature_name](**inputs)["item_ids"].shape[1] == CONFIG.k


def test_a_worker_of_this_process_takes_the_loaded_model(built):
    shared = SharedModel(built.model_dir)
    loaded = shared.load()
    # As Beam hands it to a worker.
    assert pickle.loads(pickle.dumps(shared)).load() is loaded


@pytest.fixture(scope="module")
def encoder(built):
    return CatalogEncoder(built.model)


def test_raw_examples_embed_as_the_training_table_does(built, encoder):
    model = built.model
    ids, _, _, vectors, *_ = encoder.encode(tf.constant([serialize(item) for item in ALL_CATALOG]))
    trained = dict(zip(model.table.item_ids, ExactMetrics(model.towers, model.table, 1).catalog_vectors(), strict=True))
    for item_id, vector in zip(ids.numpy(), vectors.numpy(), strict=True):
        np.testing.assert_allclose(vector, trained[item_id], rtol=1e-4, atol=1e-6)


def test_parts_listed_in_any_order_are_read_in_item_order(tmp_path):
    rng = np.random.default_rng(0)
    ids = np.array([b"a", b"b", b"c", b"d", b"e"])
    vectors, brand = rng.normal(size=(5, 2)), np.arange(1, 6, dtype=np.int32)
    # The last is of a batch that was worked twice, and broken off.
    (tmp_path / "3.npz").write_bytes(b"PK")
    (tmp_path / "parts.json").write_text(json.dumps(["0.npz", "1.npz", "2.npz"]))
    for n, rows in enumerate([[3, 0], [4], [2, 1]]):
        np.savez(
            tmp_path / f"{n}.npz",
            **{
                "ids": ids[rows],
                "vectors": vectors[rows],
                "column:brand": brand[rows],
                "fingerprints": [1, 2][: len(rows)],
                "available": np.array(rows) >= 0,
                # Parts have bytes of different widths.
                "attribute:brand": np.array([b"x" * (row + 1) for row in rows]),
                "attribute:category_path": ids[rows],
                "attribute:price": np.array(rows, np.float32),
                "text:title": np.frombuffer(b"".join(b"title " + ids[row] for row in rows), np.uint8),
                "text_length:title": np.full(len(rows), len("title x")),
            },
        )
    catalog = read_parts(str(tmp_path))
    assert catalog.table.item_ids.tolist() == ids.tolist()
    np.testing.assert_array_equal(catalog.vectors, vectors)
    np.testing.assert_array_equal(catalog.table.columns["brand"], [1, 2, 3, 4, 5, 0])
    assert [len(brand) for brand in catalog.attributes.brands] == [1, 2, 3, 4, 5]
    assert catalog.attributes.category_paths.tolist() == ids.tolist()
    assert catalog.available.all()
    assert catalog.attributes.prices.tolist() == [0, 1, 2, 3, 4]
    assert catalog.texts["title"].tolist() == [b"title " + item_id for item_id in ids]
    assert len(rows_to_index(catalog, drop_duplicates=True)) == 2
    np.testing.assert_array_equal(rows_to_index(catalog, drop_duplicates=False), np.arange(5))


def test_twins_have_one_fingerprint_and_other_prices_another(encoder):
    dearer = {**TWIN, "item_id": [b"zz-dearer"], "price": [99.0]}
    _, fingerprints, *_ = encoder.encode(tf.constant([serialize(i) for i in (ALL_CATALOG[-1], TWIN, dearer)]))
    original, twin, other = fingerprints.numpy()
    assert original == twin != other


def test_an_empty_catalog_is_refused(tmp_path):
    (tmp_path / "parts.json").write_text("[]")
    with pytest.raises(ValueError, match="the catalog split is empty"):
        read_parts(str(tmp_path))


@pytest.mark.parametrize("k", [0, -1, 10_001])
def test_a_k_out_of_range_is_refused(k):
    with pytest.raises(InputError, match=r"`k`.*got " + str(k)):
        IndexConfig.parse({"k": k})

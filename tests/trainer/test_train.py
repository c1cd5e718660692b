import math
import os

import numpy as np
import pytest
import tensorflow as tf

from schema import features
from schema.settings import InputError
from tests.small_shop import TRAINER, write_examples
from tests.trainer.text_encoder.tiny_encoders import write_model2vec
from trainer import artifact
from trainer.config import HistoryConfig, LossConfig, NegativesConfig, OptimizerConfig, TextEncoderConfig, TrainerConfig
from trainer.input import SearchReader, read_requests
from trainer.recall import EpochMetrics, ExactMetrics, ndcg_by_rank, positive_ranks, recall_by_rank
from trainer.resume import TrainingPlan
from trainer.train import plan, train


def test_training_finds_the_items_that_requests_led_to(trained):
    recall = trained.history["recall@3"]
    assert max(recall) > 0.9
    assert trained.history["loss"][-1] < trained.history["loss"][0]
    assert len(trained.history["examples_per_second"]) == len(recall)


@pytest.mark.parametrize(
    "change",
    [
        {"loss": LossConfig(kind="hinge", margin=0.3), "optimizer": OptimizerConfig(learning_rate=0.02)},
        {"model": "two_tower", "heads": 1, "negatives": NegativesConfig(per_positive=64, random_ratio=1.0)},
        {"heads": 1, "loss": LossConfig(logq_correction=False), "lexical_skip": False},
        {"history": HistoryConfig(enabled=False), "profile": False},
    ],
    ids=["hinge", "two_tower, random negatives alone", "no logQ, no lexical skip", "nobody"],
)
def test_each_choice_of_loss_model_and_negatives_learns(shop, tmp_path, change):
    config = TRAINER.model_copy(update=change)
    model = shop.train(config, tmp_path)
    assert max(model.history["recall@3"]) > 0.7


def test_a_text_encoder_is_part_of_the_model_that_is_saved(shop, tmp_path):
    write_model2vec(tmp_path / "encoder")
    encoder = TextEncoderConfig(folder=str(tmp_path / "encoder"), dim=4)
    model = shop.train(TRAINER.model_copy(update={"epochs": 1, "text_encoder": encoder}), tmp_path / "log")
    artifact.save(model, str(tmp_path / "model"))
    vectors, loaded = (
        ExactMetrics(some.towers, some.table, 3).catalog_vectors()
        for some in (model, artifact.load(str(tmp_path / "model")))
    )
    np.testing.assert_array_equal(loaded, vectors)
    row = model.table.item_ids.tolist()
    red = vectors[[row.index(b"red-kettle"), row.index(b"red-lamp"), row.index(b"blue-lamp")], TRAINER.dim :]
    # The encoder knows the colors alone.
    np.testing.assert_allclose(red[0] @ red[1], encoder.share, rtol=1e-4)
    assert red[0] @ red[2] < encoder.share / 2


def test_the_same_seed_gives_the_same_model(shop, tmp_path):
    """A seed of 0 is one, too; that of the default is in `test_resume.py`."""
    config = TRAINER.model_copy(update={"epochs": 1, "seed": 0})
    first, second = (shop.train(config, tmp_path / str(number)) for number in range(2))
    np.testing.assert_allclose(first.history["loss"], second.history["loss"], rtol=1e-4)


def test_the_epoch_of_the_best_ndcg_is_kept(trained, shop):
    requests = read_requests(SearchReader(TRAINER, tuple(trained.sizes.profile)), shop.files("train"), validation=True)
    measured = ExactMetrics(trained.towers, trained.table, 3)(requests)
    best = int(np.argmax(trained.history["ndcg"]))
    assert measured == pytest.approx({name: trained.history[name][best] for name in ("recall@3", "ndcg")}, abs=1e-6)


def test_recall_and_ndcg_agree_with_a_plain_python_count(trained, shop):
    reader = SearchReader(TRAINER, tuple(trained.sizes.profile))
    requests = read_requests(reader, shop.files("train"), validation=True)
    items = ExactMetrics(trained.towers, trained.table, 3).catalog_vectors()
    shares, gains = [], []
    for batch in requests:
        query = trained.towers.encode_query(batch, trained.table.as_tensors()).numpy()
        for heads, wanted in zip(query, batch[features.ITEMS].numpy() - 1, strict=True):
            order = np.argsort(-(items @ heads.T).max(axis=1)).tolist()
            ranks = [order.index(row) + 1 for row in wanted if row >= 0]
            shares.append(sum(rank <= 3 for rank in ranks) / len(ranks))
            best = sum(1 / math.log2(place + 2) for place in range(len(ranks)))
            gains.append(sum(1 / math.log2(rank + 1) for rank in ranks) / best)
    measured = ExactMetrics(trained.towers, trained.table, 3)(requests)
    assert measured == pytest.approx({"recall@3": np.mean(shares), "ndcg": np.mean(gains)}, abs=1e-6)


@pytest.mark.usefixtures("optimized_graphs")
def test_items_of_equal_score_or_none_rank_before_a_positive():
    scores = tf.constant([[0.1, 0.9, 0.1], [0.5, 0.5, 0.5], [math.nan] * 3])
    ranks = tf.function(positive_ranks)(scores, tf.constant([[1, 0], [2, -1], [0, -1]]))
    assert ranks.to_list() == [[1, 3], [3], [3]]
    np.testing.assert_allclose(recall_by_rank(ranks, 1), [0.5, 0, 0])
    expected = [(1 + 1 / 2) / (1 + 1 / math.log2(3)), 1 / 2, 1 / 2]
    np.testing.assert_allclose(ndcg_by_rank(ranks), expected, rtol=1e-6)


def test_a_small_log_is_trained_for_a_minimum_of_steps(shop, tmp_path, monkeypatch):
    config = TRAINER.model_copy(update={"min_steps": 120, "patience": 1, "epochs": 2})
    steps, whole = [], EpochMetrics.on_train_batch_end

    def on_train_batch_end(metrics, batch, logs=None):
        steps.append(batch)
        whole(metrics, batch, logs)

    monkeypatch.setattr(EpochMetrics, "on_train_batch_end", on_train_batch_end)
    model = shop.train(config, tmp_path)
    assert len(steps) >= config.min_steps
    # It would have stopped long before, and what it stopped at is kept.
    ndcg = model.history["ndcg"]
    assert np.argmax(ndcg) < len(ndcg) - config.patience - 1
    requests = read_requests(SearchReader(config, tuple(model.sizes.profile)), shop.files("train"), validation=True)
    assert ExactMetrics(model.towers, model.table, 3)(requests)["ndcg"] == pytest.approx(max(ndcg), abs=1e-6)


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (1, TrainingPlan(passes=10, steps=10, epochs=30, min_epochs=30)),
        (640, TrainingPlan(passes=1, steps=10, epochs=30, min_epochs=30)),
        (2800, TrainingPlan(passes=1, steps=44, epochs=10, min_epochs=7)),
        (10**6, TrainingPlan(passes=1, steps=15625, epochs=10, min_epochs=1)),
    ],
)
def test_the_steps_of_a_small_log_make_few_epochs(requests, expected):
    assert plan(TrainerConfig(batch_size=64, min_steps=300, epochs=10), requests) == expected


def test_a_saved_model_encodes_as_before(trained, tmp_path):
    artifact.save(trained, str(tmp_path / "model"))
    loaded = artifact.load(str(tmp_path / "model"))
    columns = trained.table.as_tensors()
    rows = {name: column[:5] for name, column in columns.items()}
    np.testing.assert_array_equal(loaded.towers.encode_items(rows), trained.towers.encode_items(rows))
    assert loaded.config == trained.config
    assert loaded.sizes == trained.sizes
    assert loaded.history == trained.history
    assert loaded.transform.vocabulary_by_name("items") == trained.transform.vocabulary_by_name("items")


def test_a_half_written_model_is_refused(trained, tmp_path):
    artifact.save(trained, str(tmp_path))
    os.remove(tmp_path / "trainer.json")
    with pytest.raises(InputError, match=r"holds no trained model: trainer.json is missing.*run the pipeline again"):
        artifact.load(str(tmp_path))


def test_a_log_without_clicks_is_refused(shop, tmp_path):
    write_examples(tmp_path / "train.gz", [{"query_unigrams": [1], "items": [0], "stages": [1]}])
    with pytest.raises(InputError, match=r"no request of the train split led to a click"):
        train(TRAINER, shop.transform, [str(tmp_path / "train.gz")], shop.files("catalog"), str(tmp_path))


def test_levels_refuse_the_hinge_loss():
    with pytest.raises(InputError, match=r"`loss.ranking_kind: levels` needs `loss.kind: softmax`: set"):
        TrainerConfig.parse({"loss": {"kind": "hinge", "ranking_weight": 1.0, "ranking_kind": "levels"}})


def test_mixtures_refuse_several_heads():
    with pytest.raises(InputError, match=r"`negatives.mixed` needs one query vector.*`heads` is 2: set `heads: 1`"):
        TrainerConfig.parse({"heads": 2, "negatives": {"mixed": 8}})


def test_two_tower_refuses_several_heads():
    with pytest.raises(InputError, match=r"`two_tower` has one query vector: set `heads: 1`"):
        TrainerConfig.parse({"model": "two_tower", "heads": 2})


def test_tensorboard_logs_are_written(trained, shop):
    assert list((shop.directory / "log" / "train").glob("events.*"))

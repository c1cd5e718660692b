import numpy as np
import pytest
import tensorflow as tf

from schema import features, transformed
from tests.trainer.test_models import CONFIGS, SIZES, make_query, make_table
from trainer import artifact
from trainer.config import NegativesConfig
from trainer.input import PAGE_STAGES, SHOWN_ITEMS, SearchReader
from trainer.retrieval import RetrievalModel

# Item 4 is shown to the first request, which did not click it, and clicked by the third.
CLICKED = [[1, 2], [3, 0], [4, 0]]
STAGES = [[2, 3], [2, 0], [2, 0]]
SHOWN = [[4, 5], [6, 0], [0, 0]]


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_what_a_page_showed_is_no_negative_of_its_levels(weight):
    config = CONFIGS["mmse"]
    # At a temperature at which every item counts.
    loss = {"ranking_weight": weight, "logq_correction": False, "temperature": 1.0}
    negatives = NegativesConfig(random_ratio=0.0)
    config = config.model_copy(
        update={"batch_size": 3, "loss": config.loss.model_copy(update=loss), "negatives": negatives}
    )
    reader, table = SearchReader(config, tuple(SIZES.profile)), make_table()
    table.columns[transformed.CLICKED_UNIGRAMS][:] = 0
    towers = artifact.make_towers(config, SIZES)
    artifact.build(towers, reader, table)
    model = RetrievalModel(towers, config, table, np.ones(table.size + 1, np.int64), np.ones((41, 2), np.int32))
    batch = make_query(reader) | {features.ITEMS: tf.constant(CLICKED), features.STAGES: tf.constant(STAGES)}
    if weight:
        batch |= {PAGE_STAGES: tf.constant(STAGES), SHOWN_ITEMS: tf.constant(SHOWN)}
    query = towers.encode_query(batch, table.as_tensors())[:, 0].numpy()
    logits = query @ towers.encode_items(table.as_tensors()).numpy().T / config.loss.temperature

    def cost(score, others):
        return np.log1p(np.sum(np.exp(np.array(others) - score)))

    positives, levels = [], []
    for row, (clicked, stages, shown) in enumerate(zip(CLICKED, STAGES, SHOWN, strict=True)):
        stage_of = {item: stage for item, stage in zip(clicked, stages, strict=True) if item}
        known = stage_of | ({item: 1 for item in shown if item} if weight else {})
        drawn = [logits[row, item - 1] for item in (1, 2, 3, 4) if item not in known]
        positives += [cost(logits[row, item - 1], drawn) for item in stage_of]
        below = {item: [logits[row, other - 1] for other in known if known[other] < known[item]] for item in known}
        levels.append(np.mean([cost(logits[row, item - 1], below[item] + drawn) for item in known]))
    expected = np.mean(positives) + weight * np.mean(levels)
    assert model.compute_loss(batch).numpy() == pytest.approx(expected, rel=1e-4)

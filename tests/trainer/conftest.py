import pytest

from tests.small_shop import TRAINER, SmallShop
from trainer.artifact import TrainedModel

# Dropout and both kinds of negatives, so that every source of randomness is in play.
CONFIG = TRAINER.model_copy(update={"dropout": 0.1, "epochs": 5, "patience": 2, "checkpoint_steps": 2, "recall_k": 1})


@pytest.fixture(scope="session")
def shop(small_shop) -> SmallShop:
    return small_shop


@pytest.fixture(scope="session")
def without_dropout(shop, tmp_path_factory) -> TrainedModel:
    return shop.train(CONFIG.model_copy(update={"dropout": 0.0}), tmp_path_factory.mktemp("log"))

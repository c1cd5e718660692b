import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.trainer import training_process
from tests.trainer.conftest import CONFIG
from trainer import resume
from trainer.resume import Position, saved_position
from trainer.run_fn import state_directory

STEPS = 5


def train_here(shop, state_dir):
    return shop.train(CONFIG, f"{state_dir}-log", state_dir=str(state_dir))


class BrokenOffError(BaseException):
    """In the place of a kill, in this process."""


@pytest.fixture(scope="module")
def whole(shop, tmp_path_factory):
    return train_here(shop, tmp_path_factory.mktemp("whole") / "state")


@pytest.fixture(scope="module")
def killed(shop, tmp_path_factory):
    """Killed in the middle of the first epoch and, having gone on, at the end of the second; then left to finish."""
    state_dir = tmp_path_factory.mktemp("killed") / "state"
    assert saved_position(str(state_dir), STEPS) == Position()
    command = [sys.executable, "-m", training_process.__name__, shop.directory, state_dir, CONFIG.to_json(), "3"]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert saved_position(str(state_dir), STEPS) == Position(epoch=0, batch=2)
    keep_best = resume._EarlyStopping.on_epoch_end

    def on_epoch_end(stopping, number, logs=None):
        """Between the writing of the best weights and that of the state."""
        keep_best(stopping, number, logs)
        if number == 1:
            raise BrokenOffError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume._EarlyStopping, "on_epoch_end", on_epoch_end)
        with pytest.raises(BrokenOffError):
            train_here(shop, state_dir)
    assert saved_position(str(state_dir), STEPS) == Position(epoch=1, batch=4)
    return state_dir, train_here(shop, state_dir)


def assert_same(model, other):
    assert model.history.keys() == other.history.keys()
    for name in model.history.keys() - {"examples_per_second"}:
        np.testing.assert_allclose(model.history[name], other.history[name], rtol=1e-4, err_msg=name)
    for weights, others in zip(model.towers.get_weights(), other.towers.get_weights(), strict=True):
        np.testing.assert_allclose(weights, others, rtol=0, atol=1e-4)


def test_a_training_killed_twice_ends_as_if_never_killed(killed, whole):
    assert_same(killed[1], whole)


def test_the_comparison_would_notice_other_random_numbers(without_dropout, whole):
    with pytest.raises(AssertionError):
        assert_same(without_dropout, whole)


def test_an_epoch_that_went_on_says_a_possible_speed(killed):
    assert all(0 < speed < 1e6 for speed in killed[1].history["examples_per_second"])


def test_a_training_that_ended_unsaved_takes_no_further_step(killed, whole, shop):
    state_dir, _ = killed
    assert saved_position(str(state_dir), STEPS) == Position(epoch=CONFIG.epochs)
    assert_same(train_here(shop, state_dir), whole)


def test_only_the_best_epochs_weights_are_kept(killed, whole):
    best = int(np.argmax(whole.history["ndcg"])) + 1
    kept = sorted(path.name for path in killed[0].glob("best-*"))
    assert kept == [f"best-{best}.data-00000-of-00001", f"best-{best}.index"]


def test_the_state_is_found_by_the_same_training_alone():
    def place(execution=7, config=CONFIG, data=("/artifacts/Transform/3/Split-train/*",)):
        return state_directory(f"/artifacts/Trainer/model/{execution}/Format-Serving", config, data)

    assert place() == place(execution=8)
    assert place().startswith("/artifacts/Trainer/")
    others = {
        place(config=CONFIG.model_copy(update={"seed": 18})),
        place(data=("/artifacts/Transform/4/Split-train/*",)),
    }
    assert len(others | {place()}) == 3

import json

import pytest
from tfx.components.trainer import executor as stock_executor
from tfx.types import standard_artifacts

from components.trainer import component
from evaluation import ledger
from schema.settings import InputError
from trainer.config import CUSTOM_CONFIG_KEY, TrainerConfig


@pytest.fixture
def handed_on(monkeypatch):
    """What the stock executor is given, in place of its training."""
    calls = []
    monkeypatch.setattr(stock_executor.GenericExecutor, "Do", lambda _, *arguments: calls.append(arguments))
    return calls


@pytest.fixture
def book(tmp_path):
    servable = standard_artifacts.Model()
    servable.uri = str(tmp_path / "servable")
    (tmp_path / "servable").mkdir()
    servable.set_string_custom_property("trained_model", "/trained/model")
    servable.set_string_custom_property("tfx_version", "1.16.0")
    ledger.record(str(tmp_path / "ledger"), ledger.SERVABLES, servable)
    return str(tmp_path / "ledger")


def do(inputs=None, config=None, **properties):
    given = {"config_json": (config or TrainerConfig()).to_json(), "run_fn": component.RUN_FN, **properties}
    component.Executor().Do(inputs or {}, {}, given)


def test_a_run_may_replace_settings_of_the_training(handed_on):
    do(overrides="model=mgdspr epochs=3")
    [(inputs, _, properties)] = handed_on
    config = TrainerConfig.from_json(json.loads(properties["custom_config"])[CUSTOM_CONFIG_KEY])
    assert config == TrainerConfig.parse({"model": "mgdspr", "epochs": 3})
    assert (config.profile, config.history.short_term_items) == (False, 100)
    assert properties["run_fn"] == "trainer.run_fn.run_fn"
    assert inputs == {}


@pytest.mark.parametrize(
    ("given", "overrides", "expected"),
    [
        ({"model": "mgdspr"}, "model=dpsr", {"model": "dpsr"}),
        ({"model": "mgdspr", "recall_k": 32}, "model=dpsr", {"model": "dpsr", "recall_k": 32}),
        ({"loss": {"temperature": 0.1}}, "model=mgdspr", {"model": "mgdspr", "loss": {"temperature": 0.1}}),
        (
            {"model": "mgdspr", "negatives": {"mixed": 8}},
            "epochs=3",
            {"model": "mgdspr", "negatives": {"mixed": 8}},
        ),
    ],
)
def test_another_model_has_own_defaults_and_keeps_what_was_set(handed_on, given, overrides, expected):
    do(config=TrainerConfig.parse(given), overrides=overrides)
    config = TrainerConfig.from_json(json.loads(handed_on[0][2]["custom_config"])[CUSTOM_CONFIG_KEY])
    epochs = {"epochs": 3} if "epochs" in overrides else {}
    assert config == TrainerConfig.parse({**expected, **epochs})


def test_an_unknown_model_type_is_refused_with_the_override(handed_on):
    with pytest.raises(InputError, match=r"with the overrides 'model=mmsse'"):
        do(overrides="model=mmsse")
    assert handed_on == []


def test_training_starts_from_the_last_blessed_servables_model(handed_on, book):
    do(ledger=book)
    [(inputs, _, _)] = handed_on
    [model] = inputs["base_model"]
    assert isinstance(model, standard_artifacts.Model)
    assert model.uri == "/trained/model"
    assert model.get_string_custom_property("tfx_version") == "1.16.0"


def test_a_model_that_a_resolver_found_goes_first(handed_on, book):
    found = standard_artifacts.Model()
    do({"base_model": [found]}, ledger=book)
    assert handed_on[0][0]["base_model"] == [found]


def test_before_anything_is_blessed_a_training_starts_fresh(handed_on, tmp_path):
    do(ledger=str(tmp_path / "none"))
    assert handed_on[0][0] == {}

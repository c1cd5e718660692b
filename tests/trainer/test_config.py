"""Settings of the trainer that are read in more than one form."""

import pytest

from trainer.config import TextEncoderConfig, TrainerConfig
from trainer.fitted_config import fitted


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/models/minilm", TextEncoderConfig(folder="/models/minilm")),
        ({"folder": "/models/minilm", "trainable": True}, TextEncoderConfig(folder="/models/minilm", trainable=True)),
        ("", TextEncoderConfig()),
        (None, TextEncoderConfig()),
    ],
)
def test_a_text_encoder_is_a_folder_or_a_group(given, expected):
    config = TrainerConfig.parse({"text_encoder": given})
    assert config.text_encoder == expected
    assert TrainerConfig.from_json(config.to_json()) == config


def test_a_run_may_replace_the_text_encoder_by_a_folder():
    text = TrainerConfig.parse({"text_encoder": {"folder": "/models/old", "trainable": True}}).to_json()
    assert TrainerConfig.from_json(text, overrides="text_encoder=/new").text_encoder == TextEncoderConfig(folder="/new")


@pytest.mark.parametrize(
    ("requests", "batch_size", "epochs", "patience"),
    [
        (1, 64, 900, 10),
        (2_500, 64, 23, 3),
        (6_399, 64, 10, 2),
        (6_400, 128, 18, 2),
        (100_000, 512, 10, 2),
    ],
)
def test_batch_epochs_and_patience_go_by_the_log(requests, batch_size, epochs, patience):
    config = fitted(TrainerConfig(min_steps=300), requests)
    assert (config.batch_size, config.epochs, config.patience) == (batch_size, epochs, patience)


def test_what_is_set_does_not_go_by_the_log():
    config = fitted(TrainerConfig(batch_size=32, epochs=7, patience=5), 10)
    assert (config.batch_size, config.epochs, config.patience) == (32, 7, 5)

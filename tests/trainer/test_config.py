"""Settings of the trainer that are read in more than one form."""

import pytest

from trainer.config import TextEncoderConfig, TrainerConfig


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

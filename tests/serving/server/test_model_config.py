import pytest
from tensorflow_serving.config import model_server_config_pb2

from schema.settings import InputError
from serving.server import model_config
from serving.server.model_config import ModelSettings
from serving.server.versions import All, Latest, Specific


@pytest.fixture
def parse(tmp_path):
    """Reads the fields of one model in a config; `{base}` stands for a folder that is there."""

    def read(text: str) -> tuple[ModelSettings, ...]:
        path = tmp_path / "models.config"
        path.write_text(text.replace("{base}", str(tmp_path)))
        return model_config.read(path)

    return read


def one(fields: str) -> str:
    return "model_config_list { config { " + fields + " } }"


SOUND = 'name: "shop" base_path: "{base}" model_platform: "tensorflow" '


def test_a_config_of_two_models_is_read(parse, tmp_path):
    text = """
      model_config_list {
        config { name: "shop" base_path: "{base}" model_platform: "tensorflow"
                 model_version_policy { specific { versions: 3 versions: 4 } }
                 version_labels { key: "stable" value: 3 } version_labels { key: "canary" value: 4 } }
        config { name: "fair" base_path: "{base}" model_type: TENSORFLOW model_version_policy { all {} } }
      }"""
    assert parse(text) == (
        ModelSettings("shop", tmp_path, Specific(frozenset({3, 4})), {"stable": 3, "canary": 4}),
        ModelSettings("fair", tmp_path, All()),
    )


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", Latest(1)),
        ("model_version_policy {}", Latest(1)),
        ("model_version_policy { latest {} }", Latest(1)),
        ("model_version_policy { latest { num_versions: 3 } }", Latest(3)),
        ("model_version_policy { all {} }", All()),
    ],
)
def test_a_policy_that_is_not_given_is_the_newest_version(parse, policy, expected):
    assert parse(one(SOUND + policy))[0].policy == expected


def test_a_byte_order_mark_is_no_part_of_the_config(parse):
    assert parse("\ufeff" + one(SOUND)) == parse(one(SOUND))


def test_no_model_at_all_is_a_config(parse):
    assert parse("model_config_list {}") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: 3", "not a ModelServerConfig in protobuf's text format"),
        ("", "Only a model_config_list is supported, got nothing"),
        ("custom_model_config {}", "Only a model_config_list is supported, got custom_model_config"),
        (one('base_path: "{base}" model_platform: "tensorflow"'), "Every model needs a name"),
        (one('name: "shop" base_path: "{base}"'), "Illegal setting neither ModelServerConfig::model_type"),
        (one(SOUND + "model_type: TENSORFLOW"), "Illegal setting both ModelServerConfig::model_type"),
        (one('name: "shop" base_path: "{base}" model_platform: "torch"'), "unsupported platform torch"),
        (one('name: "shop" base_path: "{base}" model_type: OTHER'), "unsupported platform other"),
        (one('name: "shop" base_path: "models" model_platform: "tensorflow"'), "to have an absolute path or URI"),
        (one('name: "shop" model_platform: "tensorflow"'), "to have an absolute path or URI"),
        (one('name: "shop" base_path: "{base}/none" model_platform: "tensorflow"'), "There is no model folder"),
        (one(SOUND + "model_version_policy { specific {} }"), "without a version"),
        (one(SOUND + 'version_labels { key: "" value: 1 }'), "gives the label '' to version 1"),
        (
            f"model_config_list {{ config {{ {SOUND} }} config {{ {SOUND} }} }}",
            "Illegal to list model shop multiple times",
        ),
    ],
)
def test_a_config_that_cannot_be_served_is_explained(parse, text, message):
    with pytest.raises(InputError, match=r"models\.config.*" + message):
        parse(text)


def test_a_file_that_is_not_there_is_explained(tmp_path):
    with pytest.raises(InputError, match=r"none\.config cannot be read.*--model-config-file"):
        model_config.read(tmp_path / "none.config")


def test_an_unset_config_is_refused():
    with pytest.raises(InputError, match="got nothing"):
        model_config.from_proto(model_server_config_pb2.ModelServerConfig())

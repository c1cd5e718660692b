from pathlib import Path

import pytest

from pipeline import config as pipeline_config
from pipeline.config import PipelineConfig, load, presets
from schema.settings import InputError

SHOP = """
name: shop
root: out
ingest:
  data:
    events: [logs/*.jsonl, /elsewhere/*.jsonl, gs://bucket/*.jsonl]
    catalog: items.csv
train:
  epochs: 3
"""


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "conf" / "shop.yaml"
    path.parent.mkdir()
    path.write_text(SHOP)
    return path


def test_paths_in_a_file_are_relative_to_the_file(shop):
    config = load(str(shop))
    folder = str(shop.parent)
    assert config.root == f"{folder}/out"
    assert config.ingest.data.events == (f"{folder}/logs/*.jsonl", "/elsewhere/*.jsonl", "gs://bucket/*.jsonl")
    assert config.ingest.data.catalog == (f"{folder}/items.csv",)
    assert config.metadata_path == f"{folder}/out/metadata.sqlite"
    assert config.push_directory == f"{folder}/out/serving/souk"


def test_a_byte_order_mark_is_no_part_of_the_file(shop):
    before = load(str(shop))
    shop.write_bytes(b"\xef\xbb\xbf" + shop.read_bytes())
    assert load(str(shop)) == before


def test_paths_in_set_are_relative_to_where_the_command_runs(shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(str(shop), ["root=here", "ingest.data.catalog=a.csv", "serving.model_dir=models"])
    assert config.root == f"{tmp_path}/here"
    assert config.ingest.data.catalog == (f"{tmp_path}/a.csv",)
    assert config.push_directory == f"{tmp_path}/models"
    assert config.ingest.data.events[0] == f"{shop.parent}/logs/*.jsonl"


def test_the_folder_of_a_text_encoder_is_relative_to_the_file(shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    group = ["train.text_encoder.folder=models/minilm", "train.text_encoder.cache_dir=gs://bucket/cache"]
    for settings in (["train.text_encoder=models/minilm"], group):
        assert load(str(shop), settings).train.text_encoder.folder == f"{tmp_path}/models/minilm"
    assert load(str(shop), group).train.text_encoder.cache_dir == "gs://bucket/cache"
    shop.write_text(f"{SHOP}  text_encoder: minilm\n")
    assert load(str(shop)).train.text_encoder.folder == f"{shop.parent}/minilm"
    assert load(str(shop), ["train.text_encoder=''"]).train.text_encoder.folder == ""


def test_shards_are_pushed_beside_each_other_and_all_served(shop):
    config = load(str(shop), ["index.shards=3", "serving.versions=1"])
    folder = f"{shop.parent}/out/serving/souk"
    assert (config.model_directory, config.push_directory) == (folder, f"{folder}-in-3-shards")
    served = config.served()
    assert served.model_folders() == {f"souk-shard-{n}-of-3": f"{folder}-shard-{n}-of-3" for n in range(3)}
    assert served.served_versions() == 2
    whole = load(str(shop)).served()
    assert (whole.model_folders(), whole.served_versions()) == ({"souk": folder}, 1)


def test_shards_that_are_served_are_those_that_are_built(shop):
    with pytest.raises(InputError, match=r"`serving.shards` is 2 and `index.shards` is 3: leave out the former"):
        load(str(shop), ["index.shards=3", "serving.shards=2"])


@pytest.mark.parametrize("name", ["demo", "esci", "tiny"])
def test_every_preset_loads_with_paths_below_the_current_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert name in presets()
    config = load(name)
    assert config.name == name
    assert config.root == f"{tmp_path}/runs/{name}"
    assert config.ingest.data.events == (f"{tmp_path}/runs/{name}/data/events/*.jsonl.gz",)
    assert "simulated" in config.gate.data_note


def test_set_replaces_single_settings_and_keeps_the_others(shop):
    config = load(str(shop), ["train.epochs=7", "train.optimizer.learning_rate=0.5", "gate.ks=[10, 100]"])
    assert config.train.epochs == 7
    assert config.train.optimizer.learning_rate == 0.5
    assert config.gate.ks == (10, 100)
    assert config.name == "shop"
    assert load(str(shop)).train.epochs == 3


def test_settings_survive_json(shop):
    config = load(str(shop))
    assert PipelineConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", r"`train\.epoch` is not a known key; did you mean `epochs`\?"),
        ("trian.epochs=3", r"`trian` is not a known key; did you mean `train`\?"),
        ("train.epochs=-1", r"`train\.epochs`: .*greater than or equal to 0 \(got -1\)"),
        ("index.k=0", r"`index\.k`: .*greater than or equal to 1 \(got 0\)"),
        ("train.epochs=many", r"`train\.epochs`: .*integer.*\(got 'many'\)"),
        ("train.epochs", r"--set train\.epochs is not `key=value`"),
        ("=3", r"--set =3 is not `key=value`"),
        ("name.first=x", r"--set name\.first=x: `name` is a str \('shop'\), it has no keys"),
        ("train.epochs=[1", r"--set train\.epochs=\[1: the value is not YAML"),
        ("name=../up", r"`name`: .*pattern"),
    ],
)
def test_a_wrong_set_is_refused_with_what_to_do(shop, override, message):
    with pytest.raises(InputError, match=message):
        load(str(shop), [override])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"must hold settings as `key: value` lines, it holds nothing"),
        (b"- a\n- b\n", r"it holds a list"),
        (b"name: [1\n", r"is not YAML"),
        (b"name: \xff\n", r"is not UTF-8 text"),
        (b"name: shop\n", r"`ingest` is required and was not given"),
        (b"ingest:\n  data: {events: a.jsonl}\n", r"`ingest\.data\.catalog` is required"),
        (b"ingest: 3\n", r"`ingest`: .*\(got 3\)"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path, content, message):
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"wrong\.yaml.*{message}|(?s:wrong\.yaml.*{message})"):
        load(str(path))


def test_what_is_no_file_or_preset_is_refused_with_the_presets(tmp_path):
    with pytest.raises(InputError, match=r"dmeo does not exist; .*presets demo, esci, tiny"):
        load("dmeo")
    with pytest.raises(InputError, match="is a folder"):
        load(str(tmp_path))


def test_the_presets_are_beside_the_module():
    assert Path(pipeline_config.__file__).parent / "configs" == pipeline_config.PRESETS

import pytest
import yaml

from pipeline.bench.variants import DEFAULT_FILE, choose, read_bench_file, trainer_config
from schema.settings import InputError
from trainer.config import TrainerConfig


def bench_of(tmp_path, values):
    path = tmp_path / "models.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values, sort_keys=False))
    return read_bench_file(path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("variants: [", "is not YAML"),
        ("just text", "must hold `variants:`"),
        ({"variants": {}}, "lists no variant"),
        ({"targets": []}, "lists no variant"),
        ({"variants": {"a": {"index": {"k": 5}}}}, "sets `index`. All variants share data and index"),
        ({"variants": {"a": {"base": "b"}, "b": {}}}, "base `b`, which is not a variant before it"),
        ({"variants": {"bm25": {}}}, "`bm25` is the name of a system that is measured anyway"),
        ({"variants": {"a": {"train": 3}}}, "valid dictionary"),
        ({"variants": {"a": {}}, "targets": [{"about": "t", "system": ["c"], "over": ["a"]}]}, "names `c`"),
        ({"variants": {"a": {}}, "figures": 1}, "`figures` is not a known key"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(tmp_path, values, words):
    with pytest.raises(InputError, match=words):
        bench_of(tmp_path, values)


def test_a_missing_file_and_an_unknown_variant_are_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*nowhere.yaml"):
        read_bench_file(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="there is no variant `dsspr`; there are: `two_tower`, `dpsr`"):
        choose(read_bench_file(DEFAULT_FILE), ["dsspr"])


def test_settings_are_of_configuration_then_base_then_variant(tmp_path):
    bench = bench_of(
        tmp_path,
        {
            "variants": {
                "base": {"train": {"model": "dpsr", "loss": {"kind": "hinge", "margin": 0.2}}},
                "mine": {"base": "base", "train": {"loss": {"margin": 0.3}}},
            }
        },
    )
    config = trainer_config("tiny", ["train.epochs=2"], bench, "mine", 2)
    assert (config.model, config.loss.kind, config.loss.margin) == ("dpsr", "hinge", 0.3)
    assert (config.epochs, config.batch_size, config.seed) == (2, 128, TrainerConfig().seed + 2)


def test_an_unknown_setting_is_refused_with_the_variants_name(tmp_path):
    bench = bench_of(tmp_path, {"variants": {"mine": {"train": {"epoch": 3}}}})
    with pytest.raises(InputError, match=r"variant `mine`(.|\n)*`train.epoch` .* did you mean `epochs`"):
        trainer_config("tiny", [], bench, "mine", 0)


def test_every_default_variant_is_valid_and_unlike_its_base():
    bench = read_bench_file(DEFAULT_FILE)
    settings = {name: trainer_config("demo", [], bench, name, 0) for name in bench.variants}
    for name, variant in bench.variants.items():
        assert variant.about
        if variant.base:
            assert settings[name] != settings[variant.base]
            assert settings[name].model == settings[variant.base].model

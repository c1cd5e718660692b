import pytest

from components.recall_gate.config import GateConfig
from schema.settings import InputError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"primary_k": 20}, r"`primary_k` \(20\) must be one of `ks` \(10, 50, 100\)"),
        ({"ks": [0, 100]}, "distinct positive numbers in rising order"),
        ({"ks": [100, 10]}, "distinct positive numbers in rising order"),
        ({"ks": []}, "distinct positive numbers"),
        ({"slices": {"frequency=tail": {}}}, "slice `frequency=tail` is not `group=name`"),
        ({"slices": {"query_frequency=rare": {}}}, "`query_frequency` has head, torso, tail, unseen"),
        ({"min_recal": 0.2}, "did you mean `min_recall`"),
        ({"max_relative_drop": 5}, "less than or equal to 1"),
        ({"must_beat": ["as_shown"]}, "must_beat"),
    ],
)
def test_settings_that_make_no_sense_are_named(values, message):
    with pytest.raises(InputError, match=message):
        GateConfig.parse(values)


def test_settings_survive_json():
    config = GateConfig.parse({"slices": {"top_category=Shoes": {"min_recall": 0.2}}, "ks": [5, 100]})
    assert GateConfig.from_json(config.to_json()) == config

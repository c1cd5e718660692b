from typing import ClassVar

import pytest
from pydantic import Field, field_validator, model_validator

from schema.settings import InputError, Settings


class Tower(Settings):
    """A group within a group."""

    dim: int = Field(8, ge=1)
    names: tuple[str, ...] = ()


class Model(Settings):
    """A group with a group."""

    model: str = "dpsr"
    tower: Tower = Tower()


def test_overrides_in_shell_and_yaml_replace_single_settings():
    given = Model(tower=Tower(names=("a",)))
    overrides = """model="two towers" tower.dim=16 'tower.names=["gs://x/*", b]'"""
    assert Model.from_json(given.to_json(), overrides=overrides) == Model(
        model="two towers", tower=Tower(dim=16, names=("gs://x/*", "b"))
    )


@pytest.mark.parametrize("overrides", ["", " "])
def test_no_overrides_change_nothing(overrides):
    given = Model(tower=Tower(dim=3))
    assert Model.from_json(given.to_json(), overrides=overrides) == given


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("model", r"the override model is not `key=value`; write for example epochs=3"),
        ("model=[", r"the override model=\[: the value is not YAML"),
        ('model="mmse', r"cannot be parted into words: No closing quotation"),
        ("tower.dims=3", r"the train settings with the overrides 'tower.dims=3' .*\n.*did you mean `dim`"),
        ("tower.dim=0", r"`tower.dim`: Input should be greater"),
        ("model.x=1", r"`model` is a str \('dpsr'\), it has no keys"),
    ],
)
def test_wrong_overrides_are_refused_with_what_to_do(overrides, message):
    with pytest.raises(InputError, match=message):
        Model.from_json(Model().to_json(), "the train settings", overrides)


class Renamed(Settings):
    gone: ClassVar = {"keys": "it is called `partitions` now"}

    partitions: int = 1


def test_a_key_that_was_renamed_is_refused_with_its_new_name():
    class Outer(Settings):
        ingest: Renamed = Renamed()

    with pytest.raises(InputError, match=r"`ingest.keys` is not a known key; it is called `partitions` now"):
        Outer.parse({"ingest": {"keys": 4}})


class Range(Settings):
    """Two values that must fit each other."""

    least: int = 0
    most: int = 9
    names: tuple[str, ...] = ("a",)

    @field_validator("names")
    @classmethod
    def _some(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("needs at least one name")
        return names

    @model_validator(mode="after")
    def _in_order(self) -> "Range":
        if self.least > self.most:
            raise ValueError(f"`least` ({self.least}) is above `most` ({self.most})")
        return self


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"least": 7, "most": 3}, "`least` (7) is above `most` (3)"),
        ({"names": []}, "`names`: needs at least one name (got [])"),
        ({"least": "x"}, "`least`: Input should be a valid integer, unable to parse string as an integer (got 'x')"),
    ],
)
def test_what_is_wrong_is_one_line_without_the_parsers_words(values, line):
    with pytest.raises(InputError) as refused:
        Range.parse(values, "shop.yaml")
    assert str(refused.value) == f"shop.yaml does not describe a valid configuration:\n  {line}"

"""The models that a bench trains: named changes of a configuration's `train` settings, and what they must reach."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field

from pipeline import config as pipeline_config
from pipeline.config import PRESETS
from schema.settings import InputError, Settings
from trainer.config import TrainerConfig

DEFAULT_FILE: Final = PRESETS / "bench" / "models.yaml"
TUTORIAL: Final = "tutorial"
BM25: Final = "bm25"
POPULARITY: Final = "popularity"
SHOWN: Final = "as_shown"
ENGINE: Final = "shown_engine"
# What the truth of a simulated shop would find.
ORACLE_UTILITY: Final = "oracle_utility"
ORACLE_TASTE: Final = "oracle_taste"
ORACLE_QUERY: Final = "oracle_query"
ORACLE_RELEVANCE: Final = "oracle_relevance"
ORACLES: Final = (ORACLE_RELEVANCE, ORACLE_QUERY, ORACLE_TASTE, ORACLE_UTILITY)
# What is measured beside the variants without being listed.
REFERENCES: Final = (TUTORIAL, BM25, POPULARITY, ENGINE, SHOWN, *ORACLES)


class Variant(Settings):
    """One model to train.

    Attributes:
      about: what it is, in a line.
      base: the variant that it is compared with; its settings hold here too unless `train` changes them.
      train: what differs from the base or, without one, from the configuration's `train` settings.
    """

    about: str = ""
    base: str = ""
    train: dict[str, Any] = Field(default_factory=dict)


class Target(Settings):
    """What the measurements shall show.

    Attributes:
      about: the claim, in a line.
      system: the one that shall be better; of several the one with the best `metric`.
      over: the one to beat; of several the one with the best `metric`.
      metric: `recall@100`, `ndcg@10`, `auc` and so on.
      slice: `group=name` as in the gate's report; "all" for every request.
      by: how much better, relative to `over`; 0.1 is 10 %.
    """

    about: str
    system: tuple[str, ...] = Field(min_length=1)
    over: tuple[str, ...] = Field(min_length=1)
    metric: str = "recall@100"
    slice: str = "all"
    by: float = 0.0


class BenchFile(Settings):
    """A file of variants, in the order in which they are shown, and of targets."""

    variants: dict[str, Variant]
    targets: tuple[Target, ...] = ()


def read_bench_file(path: Path) -> BenchFile:
    """The variants and targets in a YAML file.

    Raises:
      InputError: no such file, no YAML, no variant, an unknown base, a key that no variant may change.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; --models takes a YAML file with `variants`, such as {DEFAULT_FILE}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold `variants:` with a name and settings for each")
    variants = values.get("variants")
    if not isinstance(variants, dict) or not variants:
        raise InputError(f"{path} lists no variant; write for example `variants: {{dpsr: {{train: {{model: dpsr}}}}}}`")
    for name, variant in variants.items():
        _check_keys(path, name, variant)
    found = BenchFile.parse({**values, "variants": {str(n): v or {} for n, v in variants.items()}}, str(path))
    _check_names(path, found)
    return found


def _check_keys(path: Path, name: Any, variant: Any) -> None:
    other = sorted(set(variant) - set(Variant.model_fields)) if isinstance(variant, dict) else []
    if other:
        raise InputError(
            f"{path}: variant `{name}` sets `{other[0]}`. All variants share data and index and differ only in how "
            "they are trained: give its settings under `train`, and change others with --set for all"
        )


def _check_names(path: Path, found: BenchFile) -> None:
    before: set[str] = set()
    for name, variant in found.variants.items():
        if name in REFERENCES:
            raise InputError(f"{path}: `{name}` is the name of a system that is measured anyway; name the variant anew")
        if variant.base and variant.base not in before:
            raise InputError(
                f"{path}: variant `{name}` has the base `{variant.base}`, which is not a variant before it "
                f"({', '.join(sorted(before)) or 'none is'})"
            )
        before.add(name)
    for target in found.targets:
        for name in (*target.system, *target.over):
            if name not in before and name not in REFERENCES:
                raise InputError(
                    f"{path}: the target `{target.about}` names `{name}`, which is neither a variant nor one of "
                    f"{', '.join(REFERENCES)}"
                )


def choose(bench: BenchFile, names: Sequence[str]) -> dict[str, Variant]:
    """The variants called `names`, in the file's order; all for no names.

    Raises:
      InputError: one of the names is none of a variant, and not `tutorial`.
    """
    known = (*bench.variants, TUTORIAL)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"there is no variant `{unknown[0]}`; there are: " + ", ".join(f"`{name}`" for name in known))
    return {name: variant for name, variant in bench.variants.items() if not names or name in names}


def trainer_config(
    config: str, overrides: Sequence[str], bench: BenchFile, name: str, seed_offset: int
) -> TrainerConfig:
    """Settings of one training of a variant.

    Args:
      config: file or preset that the bench runs with.
      overrides: `key=value` that hold for all variants.
      bench: the variants.
      name: of the variant, or `tutorial`, which takes sizes, epochs and validation share of the configuration's own.
      seed_offset: added to the configured seed.

    Raises:
      InputError: the variant's settings are not valid.
    """
    chain: list[Variant] = []
    link = name
    while link in bench.variants:
        chain.append(bench.variants[link])
        link = chain[-1].base
    settings = [line for variant in reversed(chain) for line in _flat("train", variant.train)]
    try:
        train = pipeline_config.load(config, [*overrides, *settings]).train
    except InputError as error:
        raise InputError(f"variant `{name}`: {error}") from None
    return train.model_copy(update={"seed": train.seed + seed_offset})


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}.{key}", value)
        else:
            yield f"{prefix}.{key}={json.dumps(value)}"

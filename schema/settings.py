"""How Souk reads settings: frozen, typed, and strict about names."""

import difflib
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from schema.secrets import credentials_in, mask
from souk_client.errors import InputError


class DataError(InputError):
    """The data itself cannot be used: rows that are no rows, or not what the schema says.

    Told apart because it is others who mend it: the settings may be right, and the same command works once the data is.
    """


class Settings(BaseModel):
    """Base of every settings group: immutable, and an unknown key is an error.

    A settings group lives beside the part that it sets (`components/<step>/config.py`,
    `trainer/config.py`); `pipeline.config` puts them together into one file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # What a key that a release took away is called now, or what to do without it; for the error message.
    gone: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def parse(cls, values: Any, source: str = "settings") -> Self:
        """Settings out of plain `values` (a dict as YAML or JSON gives it).

        Args:
          values: nested plain values.
          source: what the values came from, for the error message (a file name).

        Raises:
          InputError: naming every wrong key or value, with the nearest known key for an unknown one; a value that
            looks like a credential.
        """
        refuse_credentials(values, source)
        return cls._checked(lambda: cls.model_validate(values), source)

    @classmethod
    def from_json(cls, text: str, source: str = "settings", overrides: str = "") -> Self:
        """Settings out of the JSON that `to_json` wrote.

        Args:
          text: the JSON.
          source: as for `parse`.
          overrides: `key=value` words as a shell would part them, each as for `override`; a step of a pipeline that
            is compiled once gets them with each run.

        Raises:
          InputError: as `parse` and `override` do; an unclosed quote in `overrides`.
        """
        if overrides.strip():
            values = json.loads(text)
            try:
                words = shlex.split(overrides)
            except ValueError as error:
                raise InputError(f"the overrides {mask(overrides)!r} cannot be parted into words: {error}") from None
            for word in words:
                override(values, word, "the override ")
            return cls.parse(values, f"{source} with the overrides {mask(overrides)!r}")
        return cls._checked(lambda: cls.model_validate_json(text), source)

    @classmethod
    def _checked(cls, read: Callable[[], Self], source: str) -> Self:
        try:
            return read()
        except ValidationError as error:
            lines = "\n".join(f"  {line}" for line in _explain(cls, error))
            raise InputError(f"{source} does not describe a valid configuration:\n{lines}") from None

    def to_json(self) -> str:
        """Canonical JSON of these settings; equal settings give equal text."""
        return self.model_dump_json()


def override(values: dict[str, Any], setting: str, option: str = "--set ") -> None:
    """Replaces one of nested plain `values`, in place.

    Args:
      values: as YAML or JSON gives them.
      setting: `key=value`, the key with dots (`train.epochs=3`), the value as YAML would read it.
      option: what the user gave it with, for the error message.

    Raises:
      InputError: no `key=value`, no YAML, or a key within what has none.
    """
    key, equals, text = setting.partition("=")
    setting = mask(setting)
    parts = key.strip().split(".")
    if not equals or not all(parts):
        example = f"{option}train.epochs=3" if option.startswith("--") else "epochs=3"
        raise InputError(f"{option}{setting} is not `key=value`; write for example {example}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{option}{setting}: the value is not YAML: {' '.join(str(error).split())}") from None
    group = values
    for depth, part in enumerate(parts[:-1], start=1):
        inner = group.get(part)
        if inner is None:
            inner = group[part] = {}
        if not isinstance(inner, dict):
            raise InputError(f"{option}{setting}: `{'.'.join(parts[:depth])}` is {kind_of(inner)}, it has no keys")
        group = inner
    group[parts[-1]] = value


def kind_of(value: Any) -> str:
    """What a plain value is, for an error message."""
    return "nothing" if value is None else f"a {type(value).__name__} ({mask(repr(value))})"


def nearest(name: str, known: Iterable[str]) -> str:
    """A question for an error message, whether the nearest of `known` was meant; "" if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def refuse_credentials(values: Any, source: str) -> None:
    """Raises InputError where something in nested plain `values` looks like a credential; it is not shown.

    Args:
      values: as YAML or JSON gives them.
      source: what they came from, for the error message.
    """
    found = list(credentials_in(values))
    if found:
        lines = "\n".join(f"  {f'`{path}` ' if path else ''}holds what looks like {kind}" for path, kind in found)
        raise InputError(
            f"{source} holds credentials, which are then in every artifact and log that the settings go to:\n{lines}\n"
            "Take them out, and give them by the environment alone: GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth "
            "application-default login`, or the service account that a step runs as."
        )


def _explain(root: type[BaseModel], error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            group = _group_at(root, problem["loc"][:-1])
            key, known = str(problem["loc"][-1]), list(getattr(group, "model_fields", {}))
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(sorted(known))}"
            hint = getattr(group, "gone", {}).get(key, hint)
            yield f"`{path}` is not a known key; {hint}"
        elif problem["type"] == "missing":
            yield f"`{path}` is required and was not given"
        elif problem["type"] == "value_error":
            # A check of our own. One of several values together names those it is about; all would be too many.
            where = f"`{path}`: " if path else ""
            got = "" if isinstance(problem["input"], dict) else f" (got {mask(repr(problem['input']))})"
            yield f"{where}{problem['ctx']['error']}{got}"
        else:
            yield f"`{path}`: {problem['msg']} (got {mask(repr(problem['input']))})"


def _group_at(root: type[BaseModel], path: tuple[str | int, ...]) -> Any:
    group: Any = root
    for part in path:
        field = getattr(group, "model_fields", {}).get(part)
        group = field.annotation if field is not None else None
    return group

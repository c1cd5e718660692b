"""Prints docs/configuration.md, written from the settings classes; `make docs` puts it in its place."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline.config import PipelineConfig
from schema.settings import Settings

INTRODUCTION = """\
# Configuration

One YAML file says everything about a pipeline; only `ingest.data` has no defaults. `souk run --config FILE` reads
it, `--set key=value` replaces single settings, and an unknown key is refused with the nearest known one. The
files in [pipeline/configs](../pipeline/configs) are examples, and presets that go by their name.

A relative path in a file is relative to that file's folder; one in a preset or in `--set` is relative to the folder
that the command runs in.

This page is written by `make docs` from the classes that read the file; `(required)` marks what has no default.
"""


def main() -> None:
    """Prints the page."""
    print(INTRODUCTION)
    print("\n".join(sections(PipelineConfig, "")))


def sections(settings: type[Settings], path: str) -> Iterator[str]:
    """The lines on a settings group, then those on the groups within it."""
    title, meanings = explain(settings)
    inner = {name: group for name, field in settings.model_fields.items() if (group := group_of(field))}
    yield f"## {f'`{path}`' if path else 'The file'}\n"
    yield f"{title}\n"
    rows = [(name, field) for name, field in settings.model_fields.items() if name not in inner]
    if rows:
        yield "| key | type | default | meaning |"
        yield "|---|---|---|---|"
        for name, field in rows:
            yield f"| `{name}` | {type_of(field)} | {default_of(field)} | {meanings.get(name, '').replace('|', ', ')} |"
        yield ""
    for name, group in inner.items():
        yield from sections(group, f"{path}.{name}" if path else name)


def group_of(field: FieldInfo) -> type[Settings] | None:
    """The settings class of a field that holds a group, None for a plain value."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def explain(settings: type[Settings]) -> tuple[str, dict[str, str]]:
    """What a group is, and what each of its keys means.

    Keys are explained in the class's docstring under `Attributes:`, in a docstring after the key, or in a comment
    before it.
    """
    text = inspect.cleandoc(settings.__doc__ or "").partition("Attributes:")[0]
    meanings: dict[str, str] = {}
    # What a group inherits is explained where it is declared.
    for declared in reversed(
        [kind for kind in settings.__mro__ if issubclass(kind, Settings) and kind is not Settings]
    ):
        meanings |= _explained_in(declared)
    return " ".join(text.split()) if "\n\n" not in text else text.strip(), meanings


def _explained_in(settings: type[Settings]) -> dict[str, str]:
    meanings = {}
    attributes = inspect.cleandoc(settings.__doc__ or "").partition("Attributes:")[2]
    for match in re.finditer(r"^  (\w+): (.*(?:\n    +.*)*)", attributes, re.MULTILINE):
        meanings[match[1]] = " ".join(match[2].split())
    source = textwrap.dedent(inspect.getsource(settings))
    lines, body = source.splitlines(), ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, following in zip(body.body, [*body.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        comment = []
        for line in reversed(lines[: statement.lineno - 1]):
            if not line.strip().startswith("#"):
                break
            comment.insert(0, line.strip().lstrip("# "))
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            comment = str(following.value.value).split()
        if comment:
            meanings[statement.target.id] = " ".join(comment)
    return meanings


def type_of(field: FieldInfo) -> str:
    """A field's type as a reader of YAML would say it."""
    bounds = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if isinstance(getattr(limit, name, None), int | float)
    ]
    return _name(field.annotation) + (f", {' and '.join(bounds)}" if bounds else "")


def _name(kind: Any) -> str:
    arguments = [argument for argument in get_args(kind) if argument not in (type(None), Ellipsis)]
    origin = get_origin(kind)
    if kind in (int, float, str, bool):
        return {int: "whole number", float: "number", str: "text", bool: "true or false"}[kind]
    if origin in (tuple, list):
        return f"list of {_name(arguments[0])}"
    if origin is dict:
        return f"mapping of {_name(arguments[0])} to {_name(arguments[1])}"
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return " or ".join(f"`{argument}`" for argument in arguments)
    if hasattr(kind, "__metadata__"):
        return _name(kind.__origin__)
    if arguments:
        return " or ".join(_name(argument) for argument in arguments)
    return f"`{kind.__name__}`"


def default_of(field: FieldInfo) -> str:
    """A field's default as YAML would have it."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "(required)"
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(str(item) for item in value)}]`"
    if isinstance(value, str) and value.endswith("souk.pbtxt"):
        return "`schema/souk.pbtxt` of Souk"
    return f"`{value}`" if value != "" else ""


if __name__ == "__main__":
    main()

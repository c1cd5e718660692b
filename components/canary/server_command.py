"""The command line of another server than `souk serve`: what may stand in its braces, and what it becomes."""

import shlex
import string
from collections.abc import Mapping, Set
from typing import Final

# In braces, in a template; the description is for the error message.
PLACEHOLDERS: Final = {
    "port": "where gRPC must answer on 127.0.0.1",
    "rest_port": "where REST may answer",
    "model_dir": "folder of the model's versions, which holds version 1 as a symbolic link",
    "version_dir": "folder of the SavedModel itself",
    "model_name": "name that the model must be served under",
}


def check_command(template: str) -> None:
    """Refuses a command line that cannot start a server on a candidate.

    Raises:
      ValueError: it cannot be parted into words, has braces that hold no placeholder, or says not where to answer, what
        to serve, or as what.
    """
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise ValueError(f"it cannot be parted into words as a shell would: {error}") from None
    if not words:
        raise ValueError("it is empty; leave the setting out for `souk serve`")
    used = placeholders(template)
    for wanted in ({"port"}, {"model_name"}, {"model_dir", "version_dir"}):
        if not wanted & used:
            names = " or ".join(f"{{{name}}}" for name in sorted(wanted))
            raise ValueError(f"it needs {names}: {'; '.join(PLACEHOLDERS[name] for name in sorted(wanted))}")


def placeholders(template: str) -> Set[str]:
    """The placeholders of a template.

    Raises:
      ValueError: other braces are in it.
    """
    advice = "; write {{ and }} for braces that are to stay"
    try:
        fields = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"its braces do not pair: {error}{advice}") from None
    used = set()
    for _, name, form, conversion in fields:
        if name is None:
            continue
        if name not in PLACEHOLDERS or form or conversion:
            written = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise ValueError(f"{{{written}}} is no placeholder; known are {known}{advice}")
        used.add(name)
    return used


def fill(template: str, values: Mapping[str, object]) -> list[str]:
    """The words of a checked command line, with `values` in their places; a value is never parted into words."""
    return [word.format_map(values) for word in shlex.split(template)]

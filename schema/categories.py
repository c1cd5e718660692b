"""The category of an item, in each of the ways that catalogs write it, as its path from the root down."""

import re
from typing import Any, Final

from schema.features import CATEGORY_SEPARATOR
from schema.values import UNKNOWN_NAMES, UNREADABLE, value_text, written_value

_ARROW: Final = CATEGORY_SEPARATOR.strip()
# Keys of a hierarchy's levels; Algolia has the whole path down to each level under it.
_LEVEL: Final = re.compile(r"(?:lvl|level)[_-]?(\d+)")
# A list or a map as Java prints it: where a name ends, only its writer knows.
_JAVA: Final = re.compile(r"(?s)\[.*,.*\]|\{.*=.*\}")


def category_path(text: str) -> list[str] | None:
    """The names that a text gives, [] for no category, None if it is an object or a list that cannot be read.

    Args:
      text: names with `>` between them, a name, or a list or an object as JSON, Python or NumPy writes it.
    """
    value = written_value(text)
    if value is UNREADABLE or (isinstance(value, str) and _JAVA.fullmatch(value)):
        return None
    path = _path(value)
    return None if path is None else _known(path)


def _known(names: list[str]) -> list[str]:
    return [stripped for name in names if (stripped := name.strip()) not in UNKNOWN_NAMES]


def _path(value: Any) -> list[str] | None:
    if value is None:
        return []
    if isinstance(value, list):
        return _path_of_list(value)
    if isinstance(value, dict) and all(one is None for one in value.values()):
        return []
    levels = _levels(value) if isinstance(value, dict) else []
    if levels:
        return _path_of_levels(levels)
    name = value_text(value)
    return None if name is None else name.split(_ARROW)


def _path_of_list(values: list[Any]) -> list[str] | None:
    """Names are one path; of several paths an item has the first."""
    values = [value for value in values if value is not None]
    for value in values:
        if isinstance(value, list) or (isinstance(value, dict) and _levels(value)):
            path = _path(value)
            if path is None or _known(path):
                return path
    texts = [value_text(value) for value in values if not isinstance(value, list)]
    if not all(isinstance(text, str) for text in texts):
        return None
    names = [text for text in texts if text and text.strip()]
    paths = [[name.strip() for name in text.split(_ARROW)] for text in names]
    # Each level as the path down to it.
    if len(paths) > 1 and paths == [paths[-1][: n + 1] for n in range(len(paths[-1]))]:
        return paths[-1]
    if paths and all(len(path) > 1 for path in paths):
        return paths[0]
    return names


def _levels(value: dict[str, Any]) -> list[Any]:
    """The values of its levels, from the root down."""
    found = [(int(match[1]), path) for name, path in value.items() if (match := _LEVEL.fullmatch(name)) and path]
    return [path for _, path in sorted(found, key=lambda pair: pair[0])]


def _path_of_levels(levels: list[Any]) -> list[str] | None:
    firsts = [level[0] if isinstance(level, list) else level for level in levels]
    names = [value_text(first) for first in firsts]
    if not all(isinstance(name, str) for name in names):
        return None
    texts = [name for name in names if name is not None]
    return texts[-1].split(_ARROW) if _ARROW in texts[-1] else texts

"""Whether a manifest has only fields that Kubernetes knows, of the right types: by the models of its own Python client.

The client's own reader takes no notice of fields that it does not know, which is how typing errors stay unseen.
"""

import json
import re
from types import SimpleNamespace
from typing import Any

from kubernetes import client

_SCALARS: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def model_of(manifest: dict[str, Any]) -> str:
    """The client's name for a manifest's kind: autoscaling/v2 HorizontalPodAutoscaler is V2HorizontalPodAutoscaler."""
    name = manifest["apiVersion"].rpartition("/")[2].capitalize() + manifest["kind"]
    assert hasattr(client, name), f"Kubernetes has no {manifest['kind']} in {manifest['apiVersion']}"
    return name


def problems(value: Any, kind: str, path: str = "") -> list[str]:
    """What is wrong with `value` as a `kind`; fields that are missing are not looked for."""
    if value is None or kind in ("object", "datetime"):
        return []
    if inside := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{path} is no list"]
        return [found for n, entry in enumerate(value) for found in problems(entry, inside[1], f"{path}[{n}]")]
    if inside := re.fullmatch(r"dict\(str, (.+)\)", kind):
        if not isinstance(value, dict):
            return [f"{path} is no mapping"]
        return [found for key, entry in value.items() for found in problems(entry, inside[1], f"{path}.{key}")]
    if kind in _SCALARS:
        right = isinstance(value, _SCALARS[kind]) and (kind == "bool") == isinstance(value, bool)
        return [] if right else [f"{path} is {value!r}, no {kind}"]
    if not isinstance(value, dict):
        return [f"{path} is {value!r}, no {kind}"]
    model = getattr(client, kind)
    types = {model.attribute_map[name]: of for name, of in model.openapi_types.items()}
    found = [f"{path}.{key} is unknown to {kind}" for key in value if key not in types and key != "$patch"]
    return found + [
        problem
        for key, entry in value.items()
        if key in types
        for problem in problems(entry, types[key], f"{path}.{key}")
    ]


def read_whole(manifest: dict[str, Any]) -> Any:
    """The client's object for a manifest; ValueError if a field that must be there is missing."""
    return client.ApiClient().deserialize(SimpleNamespace(data=json.dumps(manifest)), model_of(manifest))

"""What both backends do with a pipeline's parameters and placeholders."""

import datetime
from collections.abc import Mapping

from pipeline.schedule.plan import SCHEDULED_TIME
from tests.pipeline.schedule.backend import Json, RefusedError


def check_parameters(spec: Json, given: Mapping[str, object]) -> None:
    """Refuses what the pipeline does not have, and a run without what it needs."""
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name in given:
        if name not in declared:
            raise RefusedError(400, f"Invalid input error: unknown parameter {name}")
    for name, parameter in declared.items():
        if name not in given and "defaultValue" not in parameter:
            raise RefusedError(400, f"Invalid input error: parameter {name} is required")


def given_to(spec: Json, step: str, run: Mapping[str, str], moment: datetime.datetime) -> dict[str, str]:
    """The parameters that a step of a scheduled run is given.

    A placeholder is resolved where it is the whole constant of the step, and not where a run's parameter has it.
    """
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    values = {name: parameter.get("defaultValue") for name, parameter in declared.items()} | dict(run)
    given = {}
    for name, source in spec["root"]["dag"]["tasks"][step]["inputs"]["parameters"].items():
        if "componentInputParameter" in source:
            given[name] = values[source["componentInputParameter"]]
        else:
            constant = source["runtimeValue"]["constant"]
            given[name] = moment.strftime("%Y-%m-%dT%H:%M:%SZ") if constant == SCHEDULED_TIME else constant
    return given

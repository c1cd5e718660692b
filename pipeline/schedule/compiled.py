"""A compiled pipeline, read back: what its runs may be given, and the form in which a schedule runs it."""

import copy
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from schema.settings import InputError

Json = dict[str, Any]
Kind = Literal["run", "refresh"]

_TRAINING: Final = "Trainer"


@dataclass(frozen=True)
class Compiled:
    """What `souk compile` wrote.

    Attributes:
      spec: the `PipelineSpec` as plain JSON values.
      source: what it was read from, for messages.
    """

    spec: Json
    source: str

    @property
    def name(self) -> str:
        """The pipeline's."""
        return str(self.spec["pipelineInfo"]["name"])

    @property
    def kind(self) -> Kind:
        """`run` where a model is trained, `refresh` where the last one gets a new index."""
        return "run" if _TRAINING in self.spec["root"]["dag"]["tasks"] else "refresh"

    @property
    def parameters(self) -> dict[str, str | None]:
        """Defaults by name, None where a run must be given the parameter."""
        declared = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        return {name: parameter.get("defaultValue") for name, parameter in declared.items()}

    def check(self, given: Mapping[str, str], without: tuple[str, ...] = ()) -> None:
        """Raises InputError where a parameter is given that the pipeline does not have, or a needed one is not.

        Args:
          given: values by name.
          without: the parameters that need not be given.
        """
        known = self.parameters
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean `{near[0]}`?" if near else f"; it has {', '.join(sorted(known))}"
                raise InputError(f"the pipeline in {self.source} has no parameter `{name}`{hint}")
        missing = [name for name, default in known.items() if default is None and name not in (*given, *without)]
        if missing:
            raise InputError(f"the pipeline in {self.source} needs the parameter `{missing[0]}`: give it with -p")

    def bound(self, values: Mapping[str, str]) -> Json:
        """The specification with parameters of the pipeline replaced by constants in every step that takes them.

        The backends' placeholders are only resolved where a step is given one directly, not where one is the value of
        a parameter of the pipeline.
        """
        spec = copy.deepcopy(self.spec)
        for task in spec["root"]["dag"]["tasks"].values():
            for source in task.get("inputs", {}).get("parameters", {}).values():
                name = source.get("componentInputParameter")
                if name in values:
                    del source["componentInputParameter"]
                    source["runtimeValue"] = {"constant": values[name]}
        for name in values:
            del spec["root"]["inputDefinitions"]["parameters"][name]
        return spec


def read(path: Path) -> Compiled:
    """A compiled pipeline from the file that `souk compile` wrote.

    Raises:
      InputError: no such file; no compiled pipeline.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_loader())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); `souk compile` writes such a file") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        document = None
    spec = document.get("pipelineSpec", document) if isinstance(document, dict) else {}
    if not isinstance(spec, dict) or not {"pipelineInfo", "root", "deploymentSpec"} <= set(spec):
        raise InputError(f"{path} is no compiled pipeline; `souk compile` writes one")
    return Compiled(spec, str(path))


def _loader() -> Any:
    """The C parser where PyYAML was built with it: ten times as fast on a file of this size."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)

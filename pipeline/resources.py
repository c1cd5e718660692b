"""What each step gets on a cluster: processors, memory, accelerators, and how often it is tried."""

import difflib
from collections.abc import Iterable

from pydantic import Field, model_validator

from schema.settings import InputError, Settings


class Resources(Settings):
    """What a step gets.

    Attributes:
      cpu: processor cores.
      memory_gb: gigabytes.
      accelerator: its type as the target names it: `nvidia.com/gpu` on Kubeflow, `NVIDIA_TESLA_T4` on Vertex.
      accelerators: how many of these.
      retries: how often a failed step is tried again.
    """

    cpu: float = Field(2.0, gt=0)
    memory_gb: float = Field(8.0, gt=0)
    accelerator: str = ""
    accelerators: int = Field(0, ge=0)
    retries: int = Field(2, ge=0)

    @model_validator(mode="after")
    def _accelerators_have_a_type(self) -> "Resources":
        if bool(self.accelerator) != bool(self.accelerators):
            raise ValueError("`accelerator` and `accelerators` go together: a type and how many of it")
        return self


class StepResources(Settings):
    """What one step gets otherwise than `default` says; see there for the keys."""

    cpu: float | None = Field(None, gt=0)
    memory_gb: float | None = Field(None, gt=0)
    accelerator: str | None = None
    accelerators: int | None = Field(None, ge=0)
    retries: int | None = Field(None, ge=0)


class ResourcesConfig(Settings):
    """What the steps of a compiled pipeline get on a cluster; a run on this machine ignores it.

    Attributes:
      default: for every step.
      steps: by the step's name (`Trainer`), what is otherwise for it.
    """

    default: Resources = Resources()
    steps: dict[str, StepResources] = Field(default_factory=dict)

    def of(self, step: str) -> Resources:
        """What `step` gets."""
        own = self.steps.get(step, StepResources()).model_dump(exclude_none=True)
        return Resources.parse({**self.default.model_dump(), **own}, f"`resources` of {step}")

    def check(self, steps: Iterable[str]) -> None:
        """Raises InputError where a name in `steps` is no step of the pipeline."""
        known = list(steps)
        for name in self.steps:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"its steps: {', '.join(known)}"
                raise InputError(f"`resources.steps.{name}`: the pipeline has no such step; {hint}")

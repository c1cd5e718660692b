"""What a run of a compiled pipeline may be given: the same few values that a local run takes from its configuration.

A pipeline is compiled once, with its configuration; then every run may replace single settings of it, as `--set` does
on this machine. A parameter named like a section of the configuration takes `key=value` words for that section:
`train='model=mmse epochs=5'`. What decides which steps there are cannot be replaced.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tfx.orchestration.data_types import RuntimeParameter

DATE: Final = "date"
DATA_VERSION: Final = "data_version"
PUSH_DIRECTORY: Final = "push_directory"

# By name, what it is for. `date` alone has no default: without it a cache would hand on an earlier day's data.
MEANINGS: Final[Mapping[str, str]] = {
    DATE: "the day that the run is for (or a moment of it): the log is read up to its start, UTC",
    DATA_VERSION: "any text; a new one reads the same day's data anew instead of taking it from cache",
    "ingest": "settings of `ingest` to replace, such as data.events=gs://shop/more/*.jsonl.gz",
    "schema_gate": "settings of `schema_gate` to replace",
    "train": "settings of `train` to replace, such as model=mmse epochs=5",
    "index": "settings of `index` to replace",
    "gate": "settings of `gate` to replace, such as min_recall=0.3",
    "canary": "settings of `canary` to replace",
    PUSH_DIRECTORY: "the folder of versions that servers watch",
}


class Given:
    """The values of the parameters while a pipeline is put together: at hand, or given to each run.

    Args:
      compiled: whether the pipeline is for a cluster, whose runs are given the values.
    """

    def __init__(self, compiled: bool):
        self.compiled = compiled

    def __call__(self, name: str, value: str = "") -> "str | RuntimeParameter":
        """`value` itself, or the parameter `name` with that default."""
        if not self.compiled:
            return value
        from tfx.orchestration.data_types import RuntimeParameter

        return RuntimeParameter(name, ptype=str, default=value, description=MEANINGS[name])

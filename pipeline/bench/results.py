"""What a bench found, as plain frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evaluation.bootstrap import Estimate

Kind = Literal["variant", "reference", "oracle"]
TargetState = Literal["reached", "reached, not certain", "missed, not certain", "missed", "not measured"]


@dataclass(frozen=True)
class Measured:
    """A metric of one system: mean over requests and seeds with its interval, and each seed's own mean."""

    estimate: Estimate
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class System:
    """One line of the tables.

    Attributes:
      name: of the variant or reference; label: as shown; about: in a line.
      base: the variant it is compared with, "" for none.
      seeds: of the trainings; empty where nothing is trained.
      metrics: `recall@100` and so on, over all requests; `p_good@100` only of a simulated shop.
      slices: by metric, recall and P_good at the largest k, and `group=name`.
      examples_per_second: training requests per second, one value per seed.
      latency_ms: median and 95th percentile of single requests, the mean over seeds; None where nothing is served.
      settings, history: of the first seed's training; the history holds a value per epoch by metric.
    """

    name: str
    label: str
    about: str
    kind: Kind
    base: str
    seeds: tuple[int, ...]
    metrics: Mapping[str, Measured]
    slices: Mapping[str, Mapping[str, Measured]]
    examples_per_second: tuple[float, ...]
    latency_ms: tuple[float, float] | None
    settings: Mapping[str, Any]
    history: Mapping[str, list[float]]


@dataclass(frozen=True)
class Comparison:
    """How much better a system is than another, on the same requests; both intervals are those of paired differences.

    Attributes:
      difference: absolute; relative: as a share of the other's, None where that is zero.
      by_seed: absolute difference of trainings with the same seed; against what is not trained, of each seed's.
    """

    system: str
    over: str
    metric: str
    slice: str
    difference: Estimate
    relative: Estimate | None
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class TargetResult:
    """A target and what was measured for it; `comparison` is None where a system that it names is missing."""

    about: str
    by: float
    state: TargetState
    comparison: Comparison | None


@dataclass(frozen=True)
class SliceSize:
    """A slice and how much it holds."""

    key: str
    requests: int
    queries: int


@dataclass(frozen=True)
class BenchResult:
    """Everything that the tables, plots and `--json` show.

    Attributes:
      data_note: what kind of data it was, for example "simulated logs".
      requests, queries, items, train_requests: sizes of what was measured and trained on.
      order_requests: requests whose page has items of different stages, which `auc` is measured on.
      ks: of recall.
      confidence: of all intervals.
      slices: sizes.
      systems: variants first, in their file's order.
      over_base: every variant against its base.
      over_references: every variant against the tutorial's model, BM25 and the oracle that knows query and user.
      targets: in their file's order.
      warnings: what a reader must know.
    """

    data_note: str
    requests: int
    queries: int
    items: int
    train_requests: int
    order_requests: int
    ks: tuple[int, ...]
    confidence: float
    slices: tuple[SliceSize, ...]
    systems: tuple[System, ...]
    over_base: tuple[Comparison, ...]
    over_references: tuple[Comparison, ...]
    targets: tuple[TargetResult, ...]
    warnings: tuple[str, ...] = ()

    def system(self, name: str) -> System | None:
        """The system called `name`, None if it was not measured."""
        return next((system for system in self.systems if system.name == name), None)

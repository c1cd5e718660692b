"""What an evaluation found, as plain frozen data that survives JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from evaluation.bootstrap import Estimate
from schema.settings import InputError

Status = Literal["passed", "failed", "undecided", "skipped"]

CANDIDATE = "candidate"
BASELINE = "baseline"
POPULARITY = "popularity"
BM25 = "bm25"
BM25_CLICKED_QUERIES = "bm25_clicked_queries"
MEMORIZED_CLICKS = "memorized_clicks"
AS_SHOWN = "as_shown"
# Of a candidate that can retrieve in several ways, the keys of those that it does not take by default.
OTHER_WAYS = {"dense": "candidate_dense", "lexical": "candidate_lexical", "hybrid": "candidate_hybrid"}


@dataclass(frozen=True)
class SystemResult:
    """One ranking system on the evaluation requests.

    Attributes:
      key: CANDIDATE, BASELINE, POPULARITY, BM25, BM25_CLICKED_QUERIES, MEMORIZED_CLICKS, AS_SHOWN or one of
        OTHER_WAYS.
      metrics: by name: `recall@k`, `ndcg@k`, `mrr@k`.
      coverage: share of the catalog shown at least once, by `coverage@k`.
      behind_candidate: candidate minus this system on the same requests, by metric; above zero where the
        candidate is better. Empty for the candidate itself.
    """

    key: str
    label: str
    note: str
    metrics: dict[str, Estimate]
    coverage: dict[str, float]
    behind_candidate: dict[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class SliceResult:
    """Recall at the primary k on one slice, by system key, and how far each is behind the candidate."""

    group: str
    name: str
    requests: int
    queries: int
    recall: dict[str, Estimate]
    behind_candidate: dict[str, Estimate]

    @property
    def key(self) -> str:
        """`group=name`, as thresholds name it."""
        return f"{self.group}={self.name}"


@dataclass(frozen=True)
class Latency:
    """Milliseconds per call of one request, in process."""

    requests: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Health:
    """Answers that no ranking metric shows to be broken.

    Attributes:
      empty_share: share of requests with no item in the answer.
      not_a_number: requests with a score that is not a number.
      unknown_ids: answered ids that are not in the catalog.
    """

    empty_share: float
    not_a_number: int
    unknown_ids: int


@dataclass(frozen=True)
class IndexRecall:
    """Share of the exact top `k` that the servable's index returned."""

    k: int
    requests: int
    estimate: Estimate


@dataclass(frozen=True)
class Check:
    """One condition of the gate; `failed` and `undecided` refuse, `skipped` does not."""

    name: str
    status: Status
    found: str
    wanted: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The gate's decision: `reasons` says why, in sentences a person can act on."""

    blessed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Sample:
    """What was measured on. Windows are epoch milliseconds, (0, 0) where there is nothing.

    `gone` is, of what the eval split's searchers clicked and ordered, the share that has left the catalog since, on
    which nothing is measured; None where the catalog is that of the requests. `left_out_items` are those of the catalog
    that are not in the index, since they are alike to others; `left_out_clicks` how many of the `relevant_items` are
    among them.
    """

    read: int
    usable: int
    requests: int
    queries: int
    relevant_items: int
    catalog_items: int
    train_requests: int
    train_window_ms: tuple[int, int]
    eval_window_ms: tuple[int, int]
    gone: float | None = None
    left_out_items: int = 0
    left_out_clicks: int = 0

    @property
    def left_out(self) -> str:
        """What `index.drop_duplicates` did to items and clicks, in a few sentences; "" for nothing."""
        if not self.left_out_items:
            return ""
        return (
            f"`index.drop_duplicates` left {self.left_out_items:,} of {self.catalog_items:,} items out of the index: "
            "they differ from others in nothing that was read of them but the id. Of the "
            f"{self.relevant_items:,} clicked, carted and ordered items of the eval requests {self.left_out_clicks:,} "
            "are among them and count as not found. If they are products of their own, name the columns that tell them "
            "apart in `ingest.data.catalog_columns`, or set `index.drop_duplicates: false`."
        )


@dataclass(frozen=True)
class ExampleItem:
    """One line of an example's result list; `relevant` if this searcher clicked, carted or ordered it."""

    title: str
    brand: str
    relevant: bool


@dataclass(frozen=True)
class RequestExample:
    """One evaluation request with what came back.

    Attributes:
      wanted: titles of the relevant items, and their rank in the candidate's answer (0: not found).
      candidate, bm25: the first results of each.
    """

    query: str
    frequency: str
    has_history: bool
    wanted: tuple[tuple[str, int], ...]
    candidate: tuple[ExampleItem, ...]
    bm25: tuple[ExampleItem, ...]


@dataclass(frozen=True)
class Measurements:
    """What the decision rests on; the parts are those of `Evaluation`."""

    sample: Sample
    systems: Sequence[SystemResult] = ()
    slices: Sequence[SliceResult] = ()
    index_recall: IndexRecall | None = None
    latency: Latency | None = None
    health: Health | None = None


@dataclass(frozen=True)
class Evaluation:
    """Everything that the gate measured and decided about one servable.

    Attributes:
      servable, baseline: folders; "" for no baseline.
      primary_k: the k of the thresholds and the slices.
      baseline_note: why there is no baseline, if a reader would wonder.
      card: the servable's `souk.json`.
      config: the gate's settings.
    """

    servable: str
    baseline: str
    baseline_note: str
    primary_k: int
    ks: tuple[int, ...]
    sample: Sample
    systems: tuple[SystemResult, ...]
    slices: tuple[SliceResult, ...]
    index_recall: IndexRecall | None
    latency: Latency | None
    baseline_latency: Latency | None
    health: Health | None
    verdict: Verdict
    examples: tuple[RequestExample, ...]
    card: dict[str, Any]
    config: dict[str, Any]

    def system(self, key: str) -> SystemResult | None:
        """The system of this key, None if it was not measured."""
        return next((system for system in self.systems if system.key == key), None)

    def to_json(self) -> str:
        """JSON that `from_json` reads back into an equal evaluation."""
        return _ADAPTER.dump_json(self, indent=1).decode()

    @classmethod
    def from_json(cls, text: str, source: str = "evaluation.json") -> "Evaluation":
        """An evaluation out of the JSON that `to_json` wrote.

        Raises:
          InputError: the text is not such JSON.
        """
        try:
            return _ADAPTER.validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the top level"
            raise InputError(
                f"{source} is not an evaluation of Souk's gate: at {place}: {first['msg']}. Give the "
                "`evaluation.json` of a RecallGate run of this version."
            ) from None


_ADAPTER: TypeAdapter[Evaluation] = TypeAdapter(Evaluation)

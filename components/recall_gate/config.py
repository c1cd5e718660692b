"""What the gate asks of a candidate."""

from typing import Literal, Self

from pydantic import Field, model_validator

from evaluation.config import EvaluationConfig
from schema.settings import Settings

# Groups of slices, and the slices that exist in any data set. `top_category` has the shop's own names.
SLICE_GROUPS: dict[str, tuple[str, ...]] = {
    "query_frequency": ("head", "torso", "tail", "unseen"),
    "items": ("new",),
    "exposure": ("on_page", "off_page"),
    "history": ("with", "without"),
    "top_category": (),
}


class SliceThresholds(Settings):
    """What is asked of one slice; a slice with fewer than `min_slice_requests` requests is not judged."""

    min_recall: float | None = Field(None, ge=0.0, le=1.0)
    max_relative_drop: float | None = Field(None, ge=0.0, le=1.0)


class GateConfig(EvaluationConfig):
    """Settings of RecallGate. All recall thresholds are on recall@`primary_k`.

    A candidate is blessed when every check passes. A check that compares two systems (`max_relative_drop`,
    `must_beat`) is a non-inferiority test on the paired difference over the same requests: it passes only if
    the whole confidence interval lies above the bound, so a split too small to tell refuses instead of
    waving a worse model through.
    """

    # A split with fewer of either decides nothing. Queries are counted too because they, not requests, are
    # the independent observations.
    min_requests: int = Field(200, ge=1)
    min_queries: int = Field(30, ge=2)
    min_recall: float = Field(0.1, ge=0.0, le=1.0)
    # 0.05: the candidate's recall must be shown to be at least 95 % of the blessed servable's.
    max_relative_drop: float = Field(0.05, ge=0.0, le=1.0)
    # Rows of the gate's table.
    must_beat: tuple[Literal["popularity", "memorized_clicks", "bm25", "bm25_clicked_queries"], ...] = ("popularity",)
    # Keys are `group=name`, for example `query_frequency=tail` or `top_category=Shoes`.
    slices: dict[str, SliceThresholds] = Field(default_factory=dict)
    min_slice_requests: int = Field(50, ge=1)
    min_index_recall: float = Field(0.9, ge=0.0, le=1.0)
    # Share of requests that may come back with no item at all.
    max_empty_share: float = Field(0.01, ge=0.0, le=1.0)
    # Of what searchers clicked and ordered, the share that a refreshed catalog may lack: with more missing it is
    # taken for incomplete.
    max_gone_share: float = Field(0.2, ge=0.0, le=1.0)
    # Milliseconds, one request per call, in process. None: measured and reported, not judged.
    max_latency_p99_ms: float | None = Field(None, gt=0.0)

    # Said on the report's first screen, for example "simulated logs".
    data_note: str = ""

    @model_validator(mode="after")
    def _slices_are_known(self) -> Self:
        for key in self.slices:
            group, _, name = key.partition("=")
            if group not in SLICE_GROUPS or not name:
                raise ValueError(f"slice `{key}` is not `group=name`; groups: {', '.join(SLICE_GROUPS)}")
            known = SLICE_GROUPS[group]
            if known and name not in known:
                raise ValueError(f"slice `{key}`: `{group}` has {', '.join(known)}")
        return self

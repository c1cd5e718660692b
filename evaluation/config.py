"""What is measured of a servable, on which requests, and how sure a figure is to be."""

from typing import Self

from pydantic import Field, model_validator

from schema.features import Stage
from schema.settings import Settings


class EvaluationConfig(Settings):
    """How a servable is measured on the eval split."""

    ks: tuple[int, ...] = (10, 50, 100)
    primary_k: int = Field(100, ge=1)

    max_eval_requests: int = Field(5000, ge=1)
    index_recall_requests: int = Field(400, ge=1)
    latency_requests: int = Field(200, ge=1)
    batch_size: int = Field(256, ge=1)
    bootstrap_samples: int = Field(1000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1.0)
    seed: int = 17
    clicked_gain: float = Field(1.0, gt=0.0)
    ordered_gain: float = Field(3.0, gt=0.0)
    example_requests: int = Field(6, ge=0)

    @property
    def gains(self) -> dict[int, float]:
        """What an item counts in NDCG, by how far its request got with it; others count nothing."""
        return {int(Stage.CLICKED): self.clicked_gain, int(Stage.ORDERED): self.ordered_gain}

    @model_validator(mode="after")
    def _ks_rise(self) -> Self:
        if not self.ks or min(self.ks) < 1 or list(self.ks) != sorted(set(self.ks)):
            raise ValueError(f"`ks` must be distinct positive numbers in rising order, got {self.ks}")
        if self.primary_k not in self.ks:
            raise ValueError(f"`primary_k` ({self.primary_k}) must be one of `ks` {self.ks}")
        return self

"""Settings of the mining of hard negatives."""

from pydantic import Field, model_validator

from schema.settings import Settings


class HardNegativesConfig(Settings):
    """Which items, ranked well by the last blessed model though nobody took them, the next model is shown.

    Attributes:
      enabled: mine before training; what is mined is learned from where `train.negatives.hard` is above 0.
      first_rank: the band begins here. What ranks higher is more likely good and merely unseen than wrong.
      last_rank: the band ends here; what ranks lower is hardly harder than a random item.
      per_request: items drawn of the band for each request.
      max_requests: requests that are given hard negatives, drawn evenly; the catalog is searched for each.
      batch_size: requests that are encoded at once.
      seed: of what is drawn.
    """

    enabled: bool = False
    first_rank: int = Field(101, ge=1)
    last_rank: int = Field(500, ge=1)
    per_request: int = Field(8, ge=1)
    max_requests: int = Field(200_000, ge=1)
    batch_size: int = Field(256, ge=1)
    seed: int = 17

    @model_validator(mode="after")
    def _band_is_not_empty(self) -> "HardNegativesConfig":
        if self.last_rank < self.first_rank:
            raise ValueError(
                f"the band from `first_rank` {self.first_rank} to `last_rank` {self.last_rank} is empty; "
                "set `last_rank` to `first_rank` or above"
            )
        return self

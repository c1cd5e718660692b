"""Settings of the delta index."""

from pydantic import Field

from schema.settings import Settings


class DeltaConfig(Settings):
    """When a delta index is built, and what it must reach to be pushed.

    Attributes:
      max_share: of the full index's items, how many may be new, changed or removed together; more ask for a full
        refresh. So a file that was cut off half-way removes nothing.
      sample_items: how many of the delta's items are searched for by their own titles.
      min_found_share: of these, how many must be among the hits.
      sample_requests: how many of these searches are compared with exact search.
      keep_versions: pushed versions of the delta that are kept, the newest among them.
      seed: of the sample.
    """

    max_share: float = Field(0.1, gt=0.0, le=1.0)
    sample_items: int = Field(100, ge=1)
    min_found_share: float = Field(0.8, ge=0.0, le=1.0)
    sample_requests: int = Field(32, ge=1)
    keep_versions: int = Field(5, ge=2)
    seed: int = 17

"""Settings of the index and of the servable that holds it."""

from typing import Literal

from pydantic import Field, model_validator

from components.index_builder.lexical.config import LexicalConfig
from schema.settings import Settings

# What a backend has besides exact search.
_KINDS = {"scann": ("scan", "tree"), "portable": ("inverted_file",)}


class RelevanceControlConfig(Settings):
    """Whether hits must be of the brands and categories that the query names; `relevance.py` beside this file.

    What a query names is learned in training (`train.query_understanding`). A request decides for itself with its
    feature `relevance_control`, b"on" or b"off".

    Attributes:
      default: whether it is done for requests that do not say, those by query text among them.
      overfetch: hits are matched among this many times k. More finds k that match for more queries, and costs search.
      min_hits: a query with fewer hits that match is answered without relevance control, so a page is never empty
        where there is anything to show; at most k.
    """

    default: bool = False
    overfetch: int = Field(4, ge=1, le=100)
    min_hits: int = Field(1, ge=1)


class IndexConfig(Settings):
    """How the catalog is indexed.

    Attributes:
      retrieval: how a request is answered that does not say: `dense` by the towers and their index, `lexical` by the
        words of query and items, `hybrid` by both.
      k: hits that the servable answers with. Fewer cost less; the gate's largest recall@k cannot exceed it.
      backend: `scann` needs a server that has ScaNN's ops. `portable` is made of TensorFlow's own, for TF Serving's
        stock image.
      kind: `auto` goes by the catalog's size. `scann`: `exact` below `exact_below` items (brute force, no error),
        `scan` below `scan_below` (every item is scored in quantized form, the best again in full), `tree` from there on
        (only the nearest partitions are scanned). `portable`: `exact` below `portable_exact_below`, `inverted_file`
        from there on (8-bit vectors of the nearest partitions, the best again in full).
      exact_below, scan_below, portable_exact_below: see `kind`.
      wanted_recall: share of the exact top k that the index must find; among the parameters that reach it, the fastest
        are taken.
      sample_requests: requests of the train split on which recall and latency of the parameters are measured.
      drop_duplicates: whether items that are alike in title, brand, category, shop and price are indexed once.
      exact_filter_up_to: a request whose filters leave as many items as this or fewer, by the sizes of the inverted
        lists, has all of those scored, without loss; above it, more hits than k are taken from the index and matched.
      shards: in how many parts the index is cut, by the hash of the item's id, for a catalog that does not fit one
        machine. Each becomes a servable of its own, with as many hits, and a client asks all and merges; see
        docs/sharding.md. Which kind of index a shard gets goes by its own size.
      model_name: under which it is served; the recorded requests name it.
      warmup_requests: recorded requests that a server replays before it answers.
      seed: of the sample.
    """

    retrieval: Literal["dense", "lexical", "hybrid"] = "hybrid"
    k: int = Field(100, ge=1, le=10_000)
    backend: Literal["scann", "portable"] = "scann"
    kind: Literal["auto", "exact", "scan", "tree", "inverted_file"] = "auto"
    exact_below: int = Field(20_000, ge=0)
    scan_below: int = Field(100_000, ge=0)
    portable_exact_below: int = Field(50_000, ge=0)
    wanted_recall: float = Field(0.98, gt=0.0, le=1.0)
    sample_requests: int = Field(256, ge=8)
    drop_duplicates: bool = True
    exact_filter_up_to: int = Field(20_000, ge=0)
    shards: int = Field(1, ge=1, le=1000)
    model_name: str = Field("souk", min_length=1)
    warmup_requests: int = Field(8, ge=1)
    seed: int = 17
    relevance_control: RelevanceControlConfig = RelevanceControlConfig()
    lexical: LexicalConfig = LexicalConfig()

    @model_validator(mode="after")
    def _enough_hits_are_possible(self) -> "IndexConfig":
        if self.relevance_control.min_hits > self.k:
            raise ValueError(
                f"`relevance_control.min_hits` ({self.relevance_control.min_hits}) hits can never be among the "
                f"{self.k} of `k`: set it to `k` at most"
            )
        return self

    @model_validator(mode="after")
    def _a_shard_can_tell_whether_hits_are_enough(self) -> "IndexConfig":
        if self.shards > 1 and self.relevance_control.min_hits > 1:
            raise ValueError(
                f"`relevance_control.min_hits` is {self.relevance_control.min_hits}, but a shard sees its own hits "
                "alone and cannot tell whether those of all shards are enough: leave it at 1, or `shards` at 1"
            )
        return self

    @model_validator(mode="after")
    def _backend_has_the_kind(self) -> "IndexConfig":
        kinds = ("auto", "exact", *_KINDS[self.backend])
        if self.kind not in kinds:
            raise ValueError(
                f"`kind: {self.kind}` is none of the indexes of `backend: {self.backend}`, which has {', '.join(kinds)}"
            )
        return self

    def kind_for(self, items: int) -> str:
        """The kind of index for a catalog of this many items."""
        if self.kind != "auto":
            return self.kind
        if self.backend == "portable":
            return "exact" if items < self.portable_exact_below else "inverted_file"
        if items < self.exact_below:
            return "exact"
        return "scan" if items < self.scan_below else "tree"

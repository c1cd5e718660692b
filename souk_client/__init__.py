"""Asks Souk for items over gRPC. A package of its own, `souk-client`, which needs gRPC and protocol buffers alone."""

from souk_client.answers import Answer, Hit, Searcher, ServingError
from souk_client.client import Client, Signature, TensorSpec, VersionStatus
from souk_client.errors import InputError
from souk_client.examples import Behavior
from souk_client.filters import ColumnFilter, Filters
from souk_client.protocol import RelevanceControl, Retrieval
from souk_client.sharded_client import ShardedClient, connect

__all__ = [
    "Answer",
    "Behavior",
    "Client",
    "ColumnFilter",
    "Filters",
    "Hit",
    "InputError",
    "RelevanceControl",
    "Retrieval",
    "Searcher",
    "ServingError",
    "ShardedClient",
    "Signature",
    "TensorSpec",
    "VersionStatus",
    "connect",
]

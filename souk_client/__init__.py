"""Asks Souk for items over gRPC. A package of its own, `souk-client`, which needs gRPC and protocol buffers alone."""

from souk_client.answers import Answer, Hit, Searcher, ServingError
from souk_client.client import Client, Signature, TensorSpec, VersionStatus
from souk_client.errors import InputError, UserStateError
from souk_client.examples import Behavior
from souk_client.filters import ColumnFilter, Filters
from souk_client.protocol import RelevanceControl, Retrieval
from souk_client.redis_user_state import RedisUserState
from souk_client.sharded_client import ShardedClient, connect
from souk_client.user_state import UserState, UserStateUse

__all__ = [
    "Answer",
    "Behavior",
    "Client",
    "ColumnFilter",
    "Filters",
    "Hit",
    "InputError",
    "RedisUserState",
    "RelevanceControl",
    "Retrieval",
    "Searcher",
    "ServingError",
    "ShardedClient",
    "Signature",
    "TensorSpec",
    "UserState",
    "UserStateError",
    "UserStateUse",
    "VersionStatus",
    "connect",
]

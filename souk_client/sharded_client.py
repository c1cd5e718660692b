"""Asks all shards of a catalog at once and answers with the best of what they find.

    with ShardedClient(["host1:8500", "host2:8500", "host3:8500"]) as souk:
        for hit in souk.search("red shoes"):
            print(hit.rank, hit.item_id, hit.score)

It imports neither TensorFlow nor TFX. One client may be shared by many threads.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import grpc

from souk_client.answers import Rows, Searcher, ServingError
from souk_client.client import DEFAULT_TIMEOUT_S, Client
from souk_client.delta import Delta
from souk_client.errors import InputError
from souk_client.protocol import DEFAULT_MODEL_NAME, delta_model, shard_models
from souk_client.shard_merge import merge

# While shards differ in their newest version, how long one that all have is asked for before looking again.
_AGREEMENT_S = 1.0
_AVAILABLE = "AVAILABLE"


class ShardedClient(Searcher):
    """Connections to all shards of one model, searched as if they were one.

    An answer is of one version of the model: where the shards' newest versions differ, as during a push, the newest one
    that all of them have is asked for. Shards therefore serve two versions.

    Args:
      targets: "host:port" of each shard's server, in the order of the shards; or one server that has them all.
      shards: how many shards there are; None for as many as there are targets.
      model_name: name of the model; shard 0 of 3 is served as `NAME-shard-0-of-3`.
      version: the version to ask; None asks the newest that all have.
      timeout_s: deadline of an answer in seconds, whatever it takes.
      credentials: channel credentials; None sends in clear text.
      token: bearer token to show, or None.
      allow_partial: whether to answer with the rest where shards fail, and say which are missing; otherwise it is an
        error if any does. A shard that does not answer at all still takes the whole deadline.

    Raises:
      InputError: if the targets are not as many as the shards.
    """

    def __init__(
        self,
        targets: Sequence[str],
        *,
        shards: int | None = None,
        model_name: str = DEFAULT_MODEL_NAME,
        version: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        allow_partial: bool = False,
    ) -> None:
        count = len(targets) if shards is None else shards
        if count < 1 or len(targets) not in (1, count):
            raise InputError(
                f"There are {count} shards and {len(targets)} servers to ask. Give the address of each shard's server, "
                "in the order of the shards, or that of one server that has them all."
            )
        self.version = version
        self.timeout_s = timeout_s
        self.allow_partial = allow_partial
        self._agreed: tuple[int, float] | None = None
        self._clients = [
            Client(target, model_name=name, timeout_s=timeout_s, credentials=credentials, token=token, with_delta=False)
            for name, target in zip(shard_models(model_name, count), [*targets] * (count // len(targets)), strict=True)
        ]
        # One for all shards, on the server of the first.
        beside = Client(
            targets[0],
            model_name=delta_model(model_name),
            timeout_s=timeout_s,
            credentials=credentials,
            token=token,
            with_delta=False,
        )
        self._delta = Delta(beside)

    def retrieve(self, signature: str, input_name: str, values: Sequence[bytes]) -> Rows:
        """See `Searcher.retrieve`; FAILED_PRECONDITION if the shards have no version in common."""
        question = _Question(signature, input_name, values, time.monotonic() + self.timeout_s)
        everyone = range(len(self._clients))
        asked: Sequence[int] = everyone
        agreed = self._agreement()
        refused: set[int] = set()
        # Each round answers, fails, agrees on a version, or finds that one is not to be had.
        while True:
            found, failed = self._ask(question, asked, self.version if agreed is None else agreed)
            if agreed is not None and any(error.code is grpc.StatusCode.NOT_FOUND for error in failed.values()):
                # It has been withdrawn, or another server of the shard is asked now, which does not have it yet.
                refused.add(agreed)
                asked, agreed, self._agreed = everyone, None, None
                continue
            self._check(found, failed)
            if len({rows.model_version for rows in found.values()}) == 1:
                break
            agreed, asked = self._common_version(list(found), refused, question)
            self._agreed = agreed, time.monotonic() + _AGREEMENT_S
        first = next(iter(found.values()))
        rows = Rows(
            [merge(rows) for rows in zip(*(answer.rows for answer in found.values()), strict=True)],
            first.model_version,
            tuple(shard for shard in everyone if shard not in found),
            vectors=first.vectors,
        )
        return self._delta.complete(rows, values, question.deadline, self.allow_partial)

    def close(self) -> None:
        """Ends every connection."""
        for client in self._clients:
            client.close()
        self._delta.close()

    def _agreement(self) -> int | None:
        agreed = self._agreed
        return agreed[0] if agreed is not None and time.monotonic() < agreed[1] else None

    def _ask(
        self, question: "_Question", shards: Iterable[int], version: int | None
    ) -> tuple[dict[int, Rows], dict[int, ServingError]]:
        """What shards answer, all asked at once, and what went wrong with those that do not."""
        waiting = {
            shard: self._clients[shard].begin(
                question.signature,
                question.input_name,
                question.values,
                timeout_s=question.seconds_left(),
                version=version,
            )
            for shard in shards
        }
        found: dict[int, Rows] = {}
        failed: dict[int, ServingError] = {}
        for shard, wait in waiting.items():
            try:
                found[shard] = self._clients[shard].read(wait(), len(question.values))
            except ServingError as error:
                failed[shard] = error
        return found, failed

    def _check(self, found: Mapping[int, object], failed: Mapping[int, ServingError]) -> None:
        """Raises what went wrong, unless the rest is enough."""
        if not failed or (found and self.allow_partial):
            return
        count = len(self._clients)
        shown = "; ".join(f"shard {shard} of {count}: {error}" for shard, error in failed.items())
        raise ServingError(shown, next(iter(failed.values())).code)

    def _common_version(
        self, shards: Sequence[int], refused: Collection[int], question: "_Question"
    ) -> tuple[int, Sequence[int]]:
        """The newest version that all shards can answer with, or if some may be missing most, and who has it.

        Raises:
          ServingError: there is none but those `refused`, or a shard does not say what it has.
        """
        available: dict[int, set[int]] = {}
        failed: dict[int, ServingError] = {}
        for shard in shards:
            try:
                statuses = self._clients[shard].status(question.seconds_left())
            except ServingError as error:
                failed[shard] = error
            else:
                available[shard] = {s.version for s in statuses if s.state == _AVAILABLE} - set(refused)
        self._check(available, failed)
        holders = Counter(version for versions in available.values() for version in versions)
        count, version = max(((count, version) for version, count in holders.items()), default=(0, 0))
        if count == 0 or (count < len(shards) and not self.allow_partial):
            served = "; ".join(f"shard {shard} has {sorted(versions)}" for shard, versions in available.items())
            raise ServingError(
                f"The shards have no version in common ({served}), and scores of two versions cannot be compared. "
                "Let every server keep its two newest versions, and push all shards.",
                grpc.StatusCode.FAILED_PRECONDITION,
            )
        return version, [shard for shard, versions in available.items() if version in versions]


def connect(
    targets: Sequence[str],
    shards: int,
    *,
    model_name: str = DEFAULT_MODEL_NAME,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    credentials: grpc.ChannelCredentials | None = None,
    token: str | None = None,
    allow_partial: bool = False,
) -> Searcher:
    """A client for a model in `shards` shards, or in one piece; arguments are as of `ShardedClient`.

    Raises:
      InputError: if the targets are not as many as the shards.
    """
    if shards == 1 and len(targets) == 1:
        return Client(targets[0], model_name=model_name, timeout_s=timeout_s, credentials=credentials, token=token)
    return ShardedClient(
        targets,
        shards=shards,
        model_name=model_name,
        timeout_s=timeout_s,
        credentials=credentials,
        token=token,
        allow_partial=allow_partial,
    )


@dataclass(frozen=True)
class _Question:
    signature: str
    input_name: str
    values: Sequence[bytes]
    deadline: float

    def seconds_left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

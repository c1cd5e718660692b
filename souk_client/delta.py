"""Completes the answers of a full index by those of its delta index: what has changed since the full one was built.

The full index answers first, and gives the queries' vectors along; the delta index is asked by these, so that no query
is encoded twice. A delta index belongs to one version of the full index and is never merged with another.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import grpc

from souk_client import protocol, wire
from souk_client.answers import Rows, ServingError
from souk_client.protos import prediction_service_pb2, tensor_pb2
from souk_client.shard_merge import merge, without

# Where there is no delta index that fits, seconds until one is looked for again.
_LOOK_AGAIN_S: Final = 5.0
# Servers behind one address may differ in version for a while.
_REMEMBERED_VERSIONS: Final = 4
# How often a version may vanish between its answer and the question what it leaves out.
_TRIES: Final = 3
# What the question whether there is a delta index may meet: none, one that is loading, and no time left to ask.
_ABSENT: Final = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class DeltaServer(Protocol):
    """What is asked: `souk_client.client.Client`, of the delta model."""

    def predict_tensors(
        self,
        signature: str,
        inputs: Mapping[str, tensor_pb2.TensorProto],
        *,
        version: int | None = None,
        timeout_s: float | None = None,
    ) -> prediction_service_pb2.PredictResponse:
        """The raw response of a signature."""

    def read(self, response: prediction_service_pb2.PredictResponse, count: int) -> Rows:
        """The rows of a response."""

    def close(self) -> None:
        """Ends the connection."""


@dataclass(frozen=True)
class _Version:
    """One version of the delta index: the version of the full index that it belongs to, and what it takes from that."""

    full_version: int
    left_out: frozenset[bytes]


class Delta:
    """The delta index beside a full one, if there is any; may be shared by many threads.

    Where there is none, or one of another version, an answer costs nothing more; it is looked for every 5 seconds.

    Args:
      server: of the delta model.
    """

    def __init__(self, server: DeltaServer) -> None:
        self._server = server
        # Newest last; replaced as a whole, so that no lock is needed.
        self._known: dict[int, _Version] = {}
        self._look_at = 0.0

    def complete(self, rows: Rows, examples: Sequence[bytes], deadline: float, allow_partial: bool = False) -> Rows:
        """The answers with what the delta index adds and without what it replaces or removes.

        Args:
          rows: of the full index.
          examples: the requests that it answered.
          deadline: by `time.monotonic`.
          allow_partial: whether to do without the delta index's items where it fails; what it is known to leave out is
            left out still.

        Raises:
          ServingError: there is a delta index, and it fails.
        """
        if rows.vectors is None or not self._belongs_to(rows.model_version, deadline):
            return rows
        inputs = {protocol.INPUT_EXAMPLES: wire.string_tensor(examples), protocol.INPUT_VECTORS: rows.vectors}
        for _ in range(_TRIES):
            try:
                response = self._server.predict_tensors(
                    protocol.SIGNATURE_BY_VECTORS, inputs, timeout_s=_seconds_to(deadline)
                )
                found = self._server.read(response, len(examples))
                version = self._version(found.model_version, deadline)
            except ServingError as error:
                if allow_partial and error.code is not grpc.StatusCode.NOT_FOUND:
                    return self._without_left_out(rows)
                if error.code is not grpc.StatusCode.NOT_FOUND:
                    raise
                # Withdrawn, or replaced after it had answered.
                continue
            if version.full_version != rows.model_version:
                return rows
            merged = [merge([without(a, version.left_out), b]) for a, b in zip(rows.rows, found.rows, strict=True)]
            return replace(rows, rows=merged, delta_version=found.model_version)
        self._known, self._look_at = {}, time.monotonic() + _LOOK_AGAIN_S
        return rows

    def close(self) -> None:
        """Ends the connection."""
        self._server.close()

    def _without_left_out(self, rows: Rows) -> Rows:
        known = [version for version in self._known.values() if version.full_version == rows.model_version]
        return replace(rows, rows=[without(row, known[-1].left_out) for row in rows.rows]) if known else rows

    def _belongs_to(self, full_version: int, deadline: float) -> bool:
        """Whether the newest version known of belongs to this version of the full index; looks for it now and then."""
        if any(version.full_version == full_version for version in self._known.values()):
            return True
        if time.monotonic() < self._look_at:
            return False
        try:
            return self._look_up(None, deadline).full_version == full_version
        except ServingError as error:
            if error.code not in _ABSENT:
                raise
            return False
        finally:
            self._look_at = time.monotonic() + _LOOK_AGAIN_S

    def _version(self, number: int, deadline: float) -> _Version:
        return self._known.get(number) or self._look_up(number, deadline)

    def _look_up(self, number: int | None, deadline: float) -> _Version:
        response = self._server.predict_tensors(
            protocol.SIGNATURE_DELTA,
            # Its value is not read; a request has an input.
            {protocol.INPUT_QUERY: wire.string_tensor([b"?"])},
            version=number,
            timeout_s=_seconds_to(deadline),
        )
        try:
            [full_version] = wire.strings(response.outputs[protocol.OUTPUT_FULL_VERSION])
            [left_out] = wire.string_rows(response.outputs[protocol.OUTPUT_LEFT_OUT])
            version = _Version(int(full_version), frozenset(left_out))
        except ValueError as error:
            raise ServingError(
                f"What is served beside the model as its delta index is none: {error}. Serve what `souk refresh "
                "--delta` has pushed under that name, or nothing.",
                grpc.StatusCode.INTERNAL,
            ) from error
        known = {**self._known, response.model_spec.version.value: version}
        self._known = dict(sorted(known.items())[-_REMEMBERED_VERSIONS:])
        return version


def _seconds_to(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())

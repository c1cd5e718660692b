"""What serving programs answer, and the face of everything that can be searched."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import grpc

from souk_client import protocol, wire
from souk_client.errors import InputError, UserStateError
from souk_client.examples import Behavior, search_example
from souk_client.filters import Filters
from souk_client.protos import prediction_service_pb2, tensor_pb2
from souk_client.user_state import UserState, UserStateUse


class ServingError(RuntimeError):
    """The server could not be reached, or it refused. The message says what was tried and what to do.

    Attributes:
      code: the gRPC status.
    """

    def __init__(self, message: str, code: grpc.StatusCode) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Hit:
    """One found item; `rank` counts from 1, a larger `score` is a better match."""

    rank: int
    item_id: str
    score: float


@dataclass(frozen=True)
class Answer:
    """The hits of one query, best first, and the version of the model that gave them.

    Attributes:
      hits: what was found.
      model_version: which version answered.
      places: k of the served model, the most hits that it returns for a query.
      relevance_control: what relevance control did, a value of `RelevanceControl`; None from a model that has no
        such output.
      missing_shards: shards of the catalog that gave no answer, whose items cannot be among the hits.
      delta_version: the version of the delta index that the answer is merged with; None where none belongs to
        `model_version`.
      user_state: what the store of user states gave, a value of `UserStateUse`; None where none was asked.
    """

    hits: list[Hit]
    model_version: int
    places: int
    relevance_control: str | None = None
    missing_shards: tuple[int, ...] = ()
    delta_version: int | None = None
    user_state: str | None = None


@dataclass(frozen=True)
class Row:
    """One query's answer as it comes over the wire: a place without an item has the id b"" and the score -inf.

    Attributes:
      ids, scores: [k], best first.
      relevance_control: as in `Answer`.
    """

    ids: list[bytes]
    scores: list[float]
    relevance_control: str | None = None


@dataclass(frozen=True)
class Rows:
    """The answers to a batch of queries, one row each; versions and missing shards are as in `Answer`.

    Attributes:
      vectors: of the queries, [batch, heads, dim], as they came; None from a signature without such an output.
    """

    rows: list[Row]
    model_version: int
    missing_shards: tuple[int, ...] = ()
    delta_version: int | None = None
    vectors: tensor_pb2.TensorProto | None = None


class Searcher(ABC):
    """Something that answers queries with items; closed when the block of a `with` ends."""

    @abstractmethod
    def retrieve(self, signature: str, input_name: str, values: Sequence[bytes]) -> Rows:
        """What a signature answers that finds items, as it comes; one row for each of `values`.

        Raises:
          InputError: if there are no values.
          ServingError: as for `search`.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends every connection."""

    def search(
        self,
        query: str,
        *,
        user_id: str | None = None,
        behavior: Behavior | None = None,
        user_state: UserState | None = None,
        k: int | None = None,
        relevance_control: bool | None = None,
        filters: Filters | None = None,
        retrieval: str | None = None,
    ) -> list[Hit]:
        """The best items for a query, best first.

        Args:
          query: what the user typed.
          user_id: the user's id, or None for a user who is not known.
          behavior: what the user did before, or None.
          user_state: where to read the behavior of `user_id`, if `behavior` is None. Where it cannot be read, the query
            is answered without, and `Answer.user_state` says so.
          relevance_control: whether hits must be of the brands and categories that the query names; None leaves it to
            the model's own setting.
          filters: which items may be in the answer.
          retrieval: how items are found, a value of `Retrieval`; None leaves it to the model's own setting.
          k: most hits wanted, or None for as many as the model returns. The model returns at most the number
            that it was exported with.

        Raises:
          InputError: if the query is empty, `k` is less than 1, or `retrieval` is none of its values.
          ServingError: if the server cannot be reached, refuses, or is too late.
        """
        return self.answer(
            query,
            user_id=user_id,
            behavior=behavior,
            user_state=user_state,
            k=k,
            relevance_control=relevance_control,
            filters=filters,
            retrieval=retrieval,
        ).hits

    def answer(
        self,
        query: str,
        *,
        user_id: str | None = None,
        behavior: Behavior | None = None,
        user_state: UserState | None = None,
        k: int | None = None,
        relevance_control: bool | None = None,
        filters: Filters | None = None,
        retrieval: str | None = None,
    ) -> Answer:
        """Like `search`, with the version of the model that answered, and what came of options."""
        if k is not None and k < 1:
            raise InputError(f"k is the number of items wanted and must be at least 1, got {k}.")
        use = None
        if user_id and behavior is None and user_state is not None:
            behavior, use = _ask(user_state, user_id)
        example = search_example(query, user_id, behavior, relevance_control, filters, retrieval)
        return replace(self.answer_examples([example], k=k)[0], user_state=use)

    def answer_examples(self, examples: Sequence[bytes], *, k: int | None = None) -> list[Answer]:
        """One answer for each serialized search tf.Example, in one call.

        Raises:
          InputError: if there are no examples.
          ServingError: as for `search`.
        """
        found = self.retrieve(protocol.SIGNATURE_DEFAULT, protocol.INPUT_EXAMPLES, examples)
        return [
            Answer(
                _hits(row, k),
                found.model_version,
                len(row.ids),
                row.relevance_control,
                found.missing_shards,
                found.delta_version,
            )
            for row in found.rows
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def rows_of(response: prediction_service_pb2.PredictResponse, count: int) -> Rows:
    """The rows of a response that holds items, to `count` queries.

    Raises:
      ValueError: if it is not of the form that Souk's servables have.
    """
    ids = wire.string_rows(response.outputs[protocol.OUTPUT_ITEM_IDS])
    scores = wire.float_rows(response.outputs[protocol.OUTPUT_SCORES])
    control: Sequence[str | None] = [None] * len(ids)
    # Asked by name, a map of messages would make what it lacks.
    if protocol.OUTPUT_RELEVANCE_CONTROL in response.outputs:
        control = [value.decode() for value in wire.strings(response.outputs[protocol.OUTPUT_RELEVANCE_CONTROL])]
    if not len(ids) == len(scores) == len(control) == count:
        raise ValueError(
            f"{count} requests got {len(ids)} rows of ids, {len(scores)} rows of scores and {len(control)} flags of "
            "relevance control"
        )
    rows = [Row(*parts) for parts in zip(ids, scores, control, strict=True)]
    return Rows(rows, response.model_spec.version.value, vectors=response.outputs.get(protocol.OUTPUT_VECTORS))


def _ask(user_state: UserState, user_id: str) -> tuple[Behavior | None, str]:
    try:
        behavior = user_state.behavior(user_id)
    except UserStateError:
        return None, UserStateUse.UNAVAILABLE
    unknown = behavior is None or behavior.empty
    return behavior, UserStateUse.UNKNOWN if unknown else UserStateUse.FOUND


def _hits(row: Row, k: int | None) -> list[Hit]:
    # An empty id pads an answer with fewer than k hits.
    found = [(item_id, score) for item_id, score in zip(row.ids, row.scores, strict=True) if item_id]
    return [
        Hit(rank, item_id.decode(errors="replace"), score) for rank, (item_id, score) in enumerate(found[:k], start=1)
    ]

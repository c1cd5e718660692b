"""Asks Souk for items over gRPC: one small client for `souk serve` and for TF Serving itself.

    with Client("localhost:8500") as souk:
        for hit in souk.search("red shoes", user="u42", behaviour=Behaviour(history_queries=["trainers"])):
            print(hit.rank, hit.item_id, hit.score)

It imports neither TensorFlow nor TFX. One client may be shared by many threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from schema import features
from schema.settings import InputError
from serving import wire
from serving.config import DEFAULT_HOST, DEFAULT_MODEL_NAME, DEFAULT_PORT
from serving.examples import Behaviour, search_example
from serving.filters import Filters
from serving.protos import model_service_pb2, prediction_service_pb2, tensor_pb2

__all__ = ["Answer", "Behaviour", "Client", "Hit", "ServingError", "Signature", "TensorSpec", "VersionStatus"]

DEFAULT_TARGET = f"{DEFAULT_HOST}:{DEFAULT_PORT}"
DEFAULT_TIMEOUT_S = 5.0
MAX_RECONNECT_WAIT_MS = 2000

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
_GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
_SIGNATURE_DEF = "signature_def"


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
      relevance_control: what relevance control did, a value of `schema.features.RelevanceControl`; None from a model
        that has no such output.
    """

    hits: list[Hit]
    model_version: int
    places: int
    relevance_control: str | None = None


@dataclass(frozen=True)
class VersionStatus:
    """State of a version: START, LOADING, AVAILABLE, UNLOADING or END; the error that ended it, or ""."""

    version: int
    state: str
    error: str


@dataclass(frozen=True)
class TensorSpec:
    """Type ("DT_STRING") and shape of one tensor; -1 for a size that varies, None for a rank that varies."""

    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of one signature of the served model, by name."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


class Client:
    """A connection to one served model.

    Args:
      target: "host:port" of the server, or any other gRPC target.
      model_name: name that the server gives the model.
      version: the version to ask; None asks the newest.
      timeout_s: deadline of each call in seconds.
      credentials: channel credentials; None sends in clear text.
      token: bearer token to show, or None.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        model_name: str = DEFAULT_MODEL_NAME,
        version: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
    ) -> None:
        if not target:
            raise InputError('The server\'s address is empty. Give it as "host:port", like localhost:8500.')
        if timeout_s <= 0:
            raise InputError(f"The deadline must be more than 0 seconds, got {timeout_s}.")
        self.target = target
        self.model_name = model_name
        self.version = version
        self.timeout_s = timeout_s
        self._headers = () if token is None else (("authorization", f"Bearer {token}"),)
        # Without this a proxy set for the web would be asked for the way to localhost.
        options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
        # A server that was away for long is found again soon after it is back; gRPC would wait up to 2 minutes.
        options.append(("grpc.max_reconnect_backoff_ms", MAX_RECONNECT_WAIT_MS))
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, credentials, options)
        self._predict = self._method(_PREDICT, prediction_service_pb2.PredictResponse)
        self._get_metadata = self._method(_GET_MODEL_METADATA, prediction_service_pb2.GetModelMetadataResponse)
        self._get_status = self._method(_GET_MODEL_STATUS, model_service_pb2.GetModelStatusResponse)

    def search(
        self,
        query: str,
        *,
        user: str | None = None,
        behaviour: Behaviour | None = None,
        k: int | None = None,
        relevance_control: bool | None = None,
        filters: Filters | None = None,
    ) -> list[Hit]:
        """The best items for a query, best first.

        Args:
          query: what the user typed.
          user: the user's id, or None for a user who is not known.
          behaviour: what the user did before, or None.
          relevance_control: whether hits must be of the brands and categories that the query names; None leaves it to
            the model's own setting.
          filters: which items may be in the answer.
          k: most hits wanted, or None for as many as the model returns. The model returns at most the number
            that it was exported with.

        Raises:
          InputError: if the query is empty or `k` is less than 1.
          ServingError: if the server cannot be reached, refuses, or is too late.
        """
        return self.answer(
            query, user=user, behaviour=behaviour, k=k, relevance_control=relevance_control, filters=filters
        ).hits

    def answer(
        self,
        query: str,
        *,
        user: str | None = None,
        behaviour: Behaviour | None = None,
        k: int | None = None,
        relevance_control: bool | None = None,
        filters: Filters | None = None,
    ) -> Answer:
        """Like `search`, with the version of the model that answered, and what relevance control did."""
        if k is not None and k < 1:
            raise InputError(f"k is the number of items wanted and must be at least 1, got {k}.")
        return self.answer_examples([search_example(query, user, behaviour, relevance_control, filters)], k=k)[0]

    def answer_examples(self, examples: Sequence[bytes], *, k: int | None = None) -> list[Answer]:
        """One answer for each serialised search tf.Example, in one call.

        Raises:
          ServingError: as for `search`.
        """
        response = self.predict(features.SIGNATURE_DEFAULT, features.INPUT_EXAMPLES, examples)
        try:
            ids = wire.string_rows(response.outputs[features.OUTPUT_ITEM_IDS])
            scores = wire.float_rows(response.outputs[features.OUTPUT_SCORES])
            control = _relevance_control(response, len(ids))
        except ValueError as error:
            raise ServingError(
                f"{self.target} answered in a form that is not Souk's: {error}. "
                f"Is {self.model_name!r} a model that Souk has exported?",
                grpc.StatusCode.INTERNAL,
            ) from error
        version = response.model_spec.version.value
        return [
            Answer(_hits(row_ids, row_scores, k), version, len(row_ids), done)
            for row_ids, row_scores, done in zip(ids, scores, control, strict=True)
        ]

    def predict(
        self, signature: str, input_name: str, values: Sequence[bytes]
    ) -> prediction_service_pb2.PredictResponse:
        """The raw response of a signature with one string input [batch].

        Raises:
          ServingError: as for `search`.
        """
        request = prediction_service_pb2.PredictRequest(model_spec=self._model_spec(signature))
        request.inputs[input_name].CopyFrom(wire.string_tensor(values))
        return self._call(self._predict, request)

    def status(self) -> list[VersionStatus]:
        """Every version that the server knows of, newest first, loaded or not.

        Raises:
          ServingError: if the server cannot be reached or does not know the model.
        """
        request = model_service_pb2.GetModelStatusRequest(model_spec=self._model_spec())
        response = self._call(self._get_status, request)
        states = model_service_pb2.ModelVersionStatus.State
        found = [
            VersionStatus(entry.version, states.Name(entry.state), entry.status.error_message)
            for entry in response.model_version_status
        ]
        return sorted(found, key=lambda entry: entry.version, reverse=True)

    def metadata(self) -> dict[str, Signature]:
        """The served model's signatures by name.

        Raises:
          ServingError: as for `search`.
        """
        request = prediction_service_pb2.GetModelMetadataRequest(
            model_spec=self._model_spec(), metadata_field=[_SIGNATURE_DEF]
        )
        response = self._call(self._get_metadata, request)
        signatures = prediction_service_pb2.SignatureDefMap.FromString(response.metadata[_SIGNATURE_DEF].value)
        return {
            name: Signature(_tensor_specs(signature.inputs), _tensor_specs(signature.outputs))
            for name, signature in signatures.signature_def.items()
        }

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _method(self, path: str, response: Any) -> Any:
        return self._channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def _model_spec(self, signature: str = "") -> prediction_service_pb2.ModelSpec:
        spec = prediction_service_pb2.ModelSpec(name=self.model_name, signature_name=signature)
        if self.version is not None:
            spec.version.value = self.version
        return spec

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self.timeout_s, metadata=self._headers)
        except grpc.RpcError as error:
            raise self._explain(error) from error

    def _explain(self, error: Any) -> ServingError:
        code, details = error.code(), error.details()
        if code is grpc.StatusCode.UNAVAILABLE and "loading" in details:
            message = f"{self.target} is not ready: {details}. Try again in a moment."
        elif code is grpc.StatusCode.UNAVAILABLE:
            message = (
                f"No server answers at {self.target} ({details}). "
                "Start one with `souk serve --model-dir DIR`, or give its address with --target HOST:PORT."
            )
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
            message = f"{self.target} did not answer within {self.timeout_s:g} s."
        else:
            message = f"{self.target} refused with {code.name}: {details}"
        return ServingError(message, code)


def _relevance_control(response: prediction_service_pb2.PredictResponse, rows: int) -> Sequence[str | None]:
    # Asked by name, a map of messages would make what it lacks.
    if features.OUTPUT_RELEVANCE_CONTROL not in response.outputs:
        return [None] * rows
    return [value.decode() for value in wire.strings(response.outputs[features.OUTPUT_RELEVANCE_CONTROL])]


def _hits(ids: list[bytes], scores: list[float], k: int | None) -> list[Hit]:
    # An empty id pads an answer with fewer than k hits.
    found = [(item_id, score) for item_id, score in zip(ids, scores, strict=True) if item_id]
    return [
        Hit(rank, item_id.decode(errors="replace"), score) for rank, (item_id, score) in enumerate(found[:k], start=1)
    ]


def _tensor_specs(tensors: Any) -> dict[str, TensorSpec]:
    specs = {}
    for name, info in tensors.items():
        shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
        specs[name] = TensorSpec(tensor_pb2.DataType.Name(info.dtype), shape)
    return specs

"""Asks Souk for items over gRPC: one small client for `souk serve` and for TF Serving itself.

    with Client("localhost:8500") as souk:
        for hit in souk.search("red shoes", user_id="u42", behavior=Behavior(history_queries=["trainers"])):
            print(hit.rank, hit.item_id, hit.score)

It imports neither TensorFlow nor TFX. One client may be shared by many threads.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from souk_client import wire
from souk_client.answers import Answer, Hit, Rows, Searcher, ServingError, rows_of
from souk_client.delta import Delta
from souk_client.errors import InputError
from souk_client.examples import Behavior
from souk_client.protocol import DEFAULT_HOST, DEFAULT_MODEL_NAME, DEFAULT_PORT, delta_model
from souk_client.protos import model_service_pb2, prediction_service_pb2, tensor_pb2

__all__ = ["Answer", "Behavior", "Client", "Hit", "ServingError", "Signature", "TensorSpec", "VersionStatus"]

DEFAULT_TARGET = f"{DEFAULT_HOST}:{DEFAULT_PORT}"
DEFAULT_TIMEOUT_S = 5.0
MAX_RECONNECT_WAIT_MS = 2000

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
_GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
_SIGNATURE_DEF = "signature_def"


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


class Client(Searcher):
    """A connection to one served model.

    Args:
      target: "host:port" of the server, or any other gRPC target.
      model_name: name that the server gives the model.
      version: the version to ask; None asks the newest.
      timeout_s: deadline of each call in seconds.
      credentials: channel credentials; None sends in clear text.
      token: bearer token to show, or None.
      with_delta: whether answers are merged with those of the model's delta index, where the server has one.
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
        with_delta: bool = True,
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

        self._delta = None
        if with_delta:
            beside = Client(
                target,
                model_name=delta_model(model_name),
                timeout_s=timeout_s,
                credentials=credentials,
                token=token,
                with_delta=False,
            )
            self._delta = Delta(beside)

    def retrieve(self, signature: str, input_name: str, values: Sequence[bytes]) -> Rows:
        """See `Searcher.retrieve`."""
        deadline = time.monotonic() + self.timeout_s
        rows = self.read(self.predict(signature, input_name, values), len(values))
        return rows if self._delta is None else self._delta.complete(rows, values, deadline)

    def read(self, response: prediction_service_pb2.PredictResponse, count: int) -> Rows:
        """The `count` rows of this server's response.

        Raises:
          ServingError: if it is not of the form that Souk's servables have.
        """
        try:
            return rows_of(response, count)
        except ValueError as error:
            raise ServingError(
                f"{self.target} answered in a form that is not Souk's: {error}. "
                f"Is {self.model_name!r} a model that Souk has exported?",
                grpc.StatusCode.INTERNAL,
            ) from error

    def predict(
        self, signature: str, input_name: str, values: Sequence[bytes]
    ) -> prediction_service_pb2.PredictResponse:
        """The raw response of a signature with one string input [batch].

        Raises:
          InputError: if there are no values.
          ServingError: as for `search`.
        """
        return self.predict_tensors(signature, {input_name: wire.string_tensor(values)}, version=self.version)

    def predict_tensors(
        self,
        signature: str,
        inputs: Mapping[str, tensor_pb2.TensorProto],
        *,
        version: int | None = None,
        timeout_s: float | None = None,
    ) -> prediction_service_pb2.PredictResponse:
        """The raw response of a signature with any inputs, by name; version and deadline are as for `begin`.

        Raises:
          ServingError: as for `search`.
        """
        return self._call(self._predict, self._request(signature, inputs, version), timeout_s)

    def begin(
        self,
        signature: str,
        input_name: str,
        values: Sequence[bytes],
        *,
        timeout_s: float,
        version: int | None = None,
    ) -> Callable[[], prediction_service_pb2.PredictResponse]:
        """Sends what `predict` sends, and gives what waits for the response and returns it or raises.

        Args:
          signature: as for `predict`.
          input_name: as for `predict`.
          values: as for `predict`.
          timeout_s: deadline in seconds from now.
          version: the version to ask; None asks the client's own.

        Raises:
          InputError: if there are no values.
        """
        asked = self.version if version is None else version
        call = self._predict.future(
            self._request(signature, {input_name: wire.string_tensor(values)}, asked),
            timeout=timeout_s,
            metadata=self._headers,
        )

        def wait() -> prediction_service_pb2.PredictResponse:
            try:
                return call.result()
            except grpc.RpcError as error:
                raise self._explain(error, timeout_s) from error

        return wait

    def status(self, timeout_s: float | None = None) -> list[VersionStatus]:
        """Every version that the server knows of, newest first, loaded or not.

        Args:
          timeout_s: deadline in seconds; None takes the client's own.

        Raises:
          ServingError: if the server cannot be reached or does not know the model.
        """
        request = model_service_pb2.GetModelStatusRequest(model_spec=self._model_spec(self.version))
        response = self._call(self._get_status, request, timeout_s)
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
            model_spec=self._model_spec(self.version), metadata_field=[_SIGNATURE_DEF]
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
        if self._delta is not None:
            self._delta.close()

    def _method(self, path: str, response: Any) -> Any:
        return self._channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def _model_spec(self, version: int | None, signature: str = "") -> prediction_service_pb2.ModelSpec:
        spec = prediction_service_pb2.ModelSpec(name=self.model_name, signature_name=signature)
        if version is not None:
            spec.version.value = version
        return spec

    def _request(
        self, signature: str, inputs: Mapping[str, tensor_pb2.TensorProto], version: int | None
    ) -> prediction_service_pb2.PredictRequest:
        request = prediction_service_pb2.PredictRequest(model_spec=self._model_spec(version, signature))
        for name, tensor in inputs.items():
            request.inputs[name].CopyFrom(tensor)
        return request

    def _call(self, method: Any, request: Any, timeout_s: float | None = None) -> Any:
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            return method(request, timeout=timeout_s, metadata=self._headers)
        except grpc.RpcError as error:
            raise self._explain(error, timeout_s) from error

    def _explain(self, error: Any, timeout_s: float) -> ServingError:
        code, details = error.code(), error.details()
        if code is grpc.StatusCode.UNAVAILABLE and "loading" in details:
            message = f"{self.target} is not ready: {details}. Try again in a moment."
        elif code is grpc.StatusCode.UNAVAILABLE:
            message = (
                f"No server answers at {self.target} ({details}). "
                "Start one with `souk serve --model-dir DIR`, or give its address with --target HOST:PORT."
            )
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
            message = f"{self.target} did not answer within {timeout_s:.3g} s."
        else:
            message = f"{self.target} refused with {code.name}: {details}"
        return ServingError(message, code)


def _tensor_specs(tensors: Any) -> dict[str, TensorSpec]:
    specs = {}
    for name, info in tensors.items():
        shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
        specs[name] = TensorSpec(tensor_pb2.DataType.Name(info.dtype), shape)
    return specs

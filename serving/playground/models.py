"""The served models that the playground may ask: a fixed list, so that a request can name no other server."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc

from schema import features
from schema.settings import InputError
from souk_client.client import Client, ServingError, Signature


@dataclass(frozen=True)
class ServedModel:
    """One model on one server."""

    name: str
    target: str

    @property
    def key(self) -> str:
        """What a request calls it by: name@host:port."""
        return f"{self.name}@{self.target}"


def parse_model(text: str) -> ServedModel:
    """The model that "name@host:port" says.

    Raises:
      InputError: if it is not of this form.
    """
    name, at, target = text.partition("@")
    if not (at and name.strip() and target.strip()):
        raise InputError(f"--model {text} does not say which model where; write it as name@host:port.")
    return ServedModel(name.strip(), target.strip())


class Models:
    """Connections to the served models, kept open between requests.

    Args:
      served: the models, best known first; one named twice counts once.
      timeout_s: deadline of each call in seconds.
      credentials: channel credentials; None speaks in clear text.
      token: bearer token to show, or None.
    """

    def __init__(
        self,
        served: Sequence[ServedModel],
        timeout_s: float,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
    ) -> None:
        self._credentials, self._token = credentials, token
        self._served = {model.key: model for model in served}
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, int | None], Client] = {}

    def __len__(self) -> int:
        return len(self._served)

    def client(self, key: str, version: int | None) -> Client:
        """The connection to a version of a model; None is the newest.

        Raises:
          InputError: if the playground was not started with this model.
          ServingError: if the server has no such version, or does not answer.
        """
        with self._lock:
            known = self._clients.get((key, version))
        if known is not None:
            return known
        client = self._connect(key, version)
        if version is not None:
            # Only versions that exist are kept, so requests cannot make the table grow without end.
            try:
                client.status()
            except ServingError:
                client.close()
                raise
        with self._lock:
            kept = self._clients.setdefault((key, version), client)
        if kept is not client:
            client.close()
        return kept

    def describe(self) -> list[dict[str, Any]]:
        """Each model with its versions and what its signature has, or with the error that asking for them gave."""
        with ThreadPoolExecutor(max(1, len(self._served)), "models") as pool:
            return list(pool.map(self._describe, self._served.values()))

    def close(self) -> None:
        """Ends every connection."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _connect(self, key: str, version: int | None) -> Client:
        model = self._served.get(key)
        if model is None:
            raise InputError(
                f"The playground was not started with the model {key}. It knows {', '.join(self._served)}; "
                "start it with --model name@host:port for each model to be asked."
            )
        return Client(
            model.target,
            model_name=model.name,
            version=version,
            timeout_s=self._timeout_s,
            credentials=self._credentials,
            token=self._token,
        )

    def _describe(self, model: ServedModel) -> dict[str, Any]:
        found: dict[str, Any] = {"key": model.key, "name": model.name, "target": model.target, "versions": []}
        try:
            client = self.client(model.key, None)
            # As text: a version may have more digits than a number in JavaScript holds.
            found["versions"] = [{**vars(status), "version": str(status.version)} for status in client.status()]
            if any(version["state"] == "AVAILABLE" for version in found["versions"]):
                found |= _abilities(client.metadata())
            else:
                found["error"] = f"No version of {model.name} at {model.target} is ready to answer."
        except ServingError as error:
            found["error"] = str(error)
        return found


def _abilities(signatures: dict[str, Signature]) -> dict[str, Any]:
    signature = signatures.get(features.SIGNATURE_DEFAULT)
    if signature is None or features.INPUT_EXAMPLES not in signature.inputs:
        needed = f"`{features.SIGNATURE_DEFAULT}` with the input `{features.INPUT_EXAMPLES}`"
        return {"error": f"The model has no signature {needed}, so Souk's requests cannot be put to it."}
    return {"has_relevance_control": features.OUTPUT_RELEVANCE_CONTROL in signature.outputs}

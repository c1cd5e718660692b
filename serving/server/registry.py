"""The models that are served, by name; a new list of models takes the place of the old one at once."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import grpc
from tensorflow_serving.apis import model_pb2

from serving.server.errors import RequestError, invalid
from serving.server.manager import ModelManager, NotServedError, Status
from serving.server.model_config import ModelSettings

log = logging.getLogger("souk.serve")

Model = TypeVar("Model")

# A load that has begun is not broken off; a reload waits for it as long as the caller's deadline lets it.
_LONGEST_RELOAD_S = 3600.0


@dataclass(frozen=True)
class _Entry(Generic[Model]):
    settings: ModelSettings
    manager: ModelManager[Model]


@dataclass(frozen=True)
class InUse(Generic[Model]):
    """A version of a model that stays in memory while a request works with it."""

    name: str
    number: int
    model: Model


class ModelRegistry(Generic[Model]):
    """All models of a server, each with its own `ModelManager`.

    Args:
      load: makes a version folder ready to serve.
      interval: seconds between two looks into each model's folder.
    """

    def __init__(self, load: Callable[[Path], Model], interval: float) -> None:
        self._load = load
        self._interval = interval
        self._reloading = threading.Lock()
        # Replaced as a whole and never changed, so that a request sees one list of models.
        self._entries: Mapping[str, _Entry[Model]] = {}

    def start(self, models: tuple[ModelSettings, ...]) -> None:
        """Serves `models` as they load; labels count from the start, before their versions are there."""
        entries = {settings.name: _Entry(settings, self._manager(settings)) for settings in models}
        self._entries = entries
        for entry in entries.values():
            entry.manager.start(self._interval)

    def reload(self, models: tuple[ModelSettings, ...], timeout: float = _LONGEST_RELOAD_S) -> None:
        """Serves `models` instead of those served before; if that cannot be, nothing changes.

        New models are loaded before any request sees the change. A model that stays keeps its loaded versions.

        Raises:
          RequestError: FAILED_PRECONDITION if a label that is in use is moved to a version that is not available,
            UNKNOWN if a new model does not become available, DEADLINE_EXCEEDED if that takes more than `timeout`
            seconds.
        """
        with self._reloading:
            old = self._entries
            entries = {settings.name: self._kept(old, settings) for settings in models}
            added = [entry for entry in entries.values() if not _is_of(entry, old)]
            try:
                for entry in added:
                    entry.manager.start(self._interval)
                _wait_for(added, timeout)
                for entry in entries.values():
                    _check_labels(entry, old.get(entry.settings.name))
            except RequestError:
                for entry in added:
                    entry.manager.retire()
                raise
            self._entries = entries
            for entry in entries.values():
                entry.manager.follow(entry.settings.policy)
            for entry in old.values():
                if not _is_of(entry, entries):
                    entry.manager.retire()
            log.info("serving %s", ", ".join(sorted(entries)) or "no model")

    @contextlib.contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[InUse[Model]]:
        """The version that `spec` asks for.

        Raises:
          RequestError: as TensorFlow Serving refuses; UNAVAILABLE while the version is still loading.
        """
        with contextlib.ExitStack() as stack:
            while True:
                entries = self._entries
                try:
                    found = self._enter(stack, entries, spec)
                    break
                except NotServedError as error:
                    # The model may have moved to another manager between the two steps.
                    if entries is not self._entries:
                        continue
                    if error.loading:
                        raise RequestError(grpc.StatusCode.UNAVAILABLE, f"{error}: it is still loading") from None
                    raise RequestError(grpc.StatusCode.NOT_FOUND, str(error)) from None
            yield found

    def statuses(self, spec: model_pb2.ModelSpec) -> dict[int, Status]:
        """State of every version of a model, or of the version whose number `spec` gives.

        A label in `spec` is ignored, as TensorFlow Serving 2.16.1 ignores it.

        Raises:
          RequestError: NOT_FOUND, as TensorFlow Serving has it.
        """
        entry = self._entries.get(spec.name)
        found = {} if entry is None else entry.manager.statuses()
        if spec.HasField("version"):
            number = int(spec.version.value)
            if number not in found:
                raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find version {number} of model {spec.name}")
            return {number: found[number]}
        if not found:
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        return found

    def names(self) -> Collection[str]:
        """Names of the models."""
        return self._entries.keys()

    def availability(self) -> dict[str, bool]:
        """Whether each model has a version that answers; optional ones are not told of until they do."""
        found = {name: bool(entry.manager.available()) for name, entry in self._entries.items()}
        return {name: there for name, there in found.items() if there or not self._entries[name].settings.optional}

    def wait_until_available(self, timeout: float) -> bool:
        """Whether every model has had an available version within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        managers = [entry.manager for entry in self._entries.values() if not entry.settings.optional]
        return all(manager.wait_until_available(max(0.0, deadline - time.monotonic())) for manager in managers)

    def stop(self, timeout: float) -> None:
        """Ends the looking for versions; loads under way get `timeout` seconds to end."""
        deadline = time.monotonic() + timeout
        for entry in self._entries.values():
            entry.manager.stop(max(0.0, deadline - time.monotonic()))

    def _enter(
        self, stack: contextlib.ExitStack, entries: Mapping[str, _Entry[Model]], spec: model_pb2.ModelSpec
    ) -> InUse[Model]:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        entry = entries.get(spec.name)
        wanted = self._number(entry, spec)
        if entry is None:
            asked = f"Latest({spec.name})" if wanted is None else f"Specific({spec.name}, {wanted})"
            raise NotServedError(f"Servable not found for request: {asked}", loading=False)
        number, model = stack.enter_context(entry.manager.use(wanted))
        return InUse(spec.name, number, model)

    @staticmethod
    def _number(entry: _Entry[Model] | None, spec: model_pb2.ModelSpec) -> int | None:
        match spec.WhichOneof("version_choice"):
            case "version":
                return int(spec.version.value)
            case "version_label":
                labels = {} if entry is None else entry.settings.labels
                if spec.version_label not in labels:
                    raise invalid(f"Unrecognized servable version label: {spec.version_label}")
                return labels[spec.version_label]
        return None

    def _manager(self, settings: ModelSettings) -> ModelManager[Model]:
        return ModelManager(settings.name, settings.base, self._load, settings.policy, settings.optional)

    def _kept(self, old: Mapping[str, _Entry[Model]], settings: ModelSettings) -> _Entry[Model]:
        known = old.get(settings.name)
        if known is not None and known.settings.base == settings.base:
            return _Entry(settings, known.manager)
        return _Entry(settings, self._manager(settings))


def _is_of(entry: _Entry[Model], entries: Mapping[str, _Entry[Model]]) -> bool:
    other = entries.get(entry.settings.name)
    return other is not None and other.manager is entry.manager


def _wait_for(added: list[_Entry[Model]], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    for entry in added:
        if not entry.manager.wait_until_settled(max(0.0, deadline - time.monotonic())):
            raise RequestError(
                grpc.StatusCode.DEADLINE_EXCEEDED, f"model {entry.settings.name} has not loaded within {timeout:g} s"
            )
    missing = [entry for entry in added if not entry.manager.available()]
    if missing:
        told = "; ".join(f"{entry.settings.name}: {_why(entry)}" for entry in missing)
        raise RequestError(grpc.StatusCode.UNKNOWN, f"{len(missing)} servable(s) did not become available: {{{told}}}")


def _why(entry: _Entry[Model]) -> str:
    errors = [f"version {number}: {status.error}" for number, status in entry.manager.statuses().items()]
    return ", ".join(errors) or f"no version in {entry.settings.base}"


def _check_labels(entry: _Entry[Model], old: _Entry[Model] | None) -> None:
    """As TensorFlow Serving checks with --allow_version_labels_for_unavailable_models: a new label may come first."""
    available = entry.manager.available()
    used = {} if old is None else old.settings.labels
    for label, number in entry.settings.labels.items():
        if number not in available and used.get(label, number) != number:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Request to assign label to version {number} of model {entry.settings.name}, "
                "which is not currently available for inference",
            )

"""Follows a `models.config` that changes while the server runs."""

import logging
import threading
from pathlib import Path
from typing import Any

from schema.settings import InputError
from serving.server import model_config
from serving.server.errors import RequestError
from serving.server.registry import ModelRegistry

log = logging.getLogger("souk.serve")


class ConfigFileWatcher:
    """Reads the file every `interval` seconds and serves what it says, once its text has changed.

    A file that cannot be served is reported and changes nothing; it is tried again, as a version that a label
    waits for may come.
    """

    def __init__(self, path: Path, interval: float, registry: ModelRegistry[Any]) -> None:
        self._path = path
        self._interval = interval
        self._registry = registry
        self._applied = _bytes(path)
        self._problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="souk-model-config", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the looking; a reload under way goes on for as long as the process."""
        self._stop.set()

    def look(self) -> None:
        """Looks once."""
        content = _bytes(self._path)
        if content == self._applied:
            return
        try:
            self._registry.reload(model_config.read(self._path))
        except (InputError, RequestError) as error:
            if str(error) != self._problem:
                log.error("the model config is not applied: %s", error)
            self._problem = str(error)
            return
        self._applied, self._problem = content, ""

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self.look()
            except Exception:
                log.exception("looking at %s failed; trying again in %g s", self._path, self._interval)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None

"""Decides which versions are in memory, swaps them, and keeps a version until its last request is done.

One thread calls `reconcile` again and again; it loads in the background while request threads go on with
what is served. A new version is served before the old one is withdrawn, so there is no moment without one.
"""

import contextlib
import ctypes
import enum
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from serving.server import versions

log = logging.getLogger("souk.serve")

Model = TypeVar("Model")

# States of versions that ended are kept for GetModelStatus; a server that runs for years forgets the oldest.
_REMEMBERED_VERSIONS = 100
# A tenth of the share of a thread that answers requests, where both want the same processor.
_NICENESS = 10


class State(enum.IntEnum):
    """State of a version, numbered as in TensorFlow Serving's ModelVersionStatus."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class Status:
    """State of one version, and what ended it if that was an error."""

    state: State
    error: str = ""


class NotServedError(LookupError):
    """No version fits the request; `loading` tells one that comes soon from one that is not there."""

    def __init__(self, message: str, loading: bool) -> None:
        super().__init__(message)
        self.loading = loading


@dataclass
class _Served(Generic[Model]):
    number: int
    model: Model
    users: int = 0
    withdrawn: bool = False


def free_memory() -> None:
    """Gives back what nobody refers to: a model's graph refers to itself, and malloc keeps what is freed."""
    gc.collect()
    # Of glibc alone.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class ModelManager(Generic[Model]):
    """The versions of one model.

    Args:
      name: the model's name, for messages.
      base: the folder to watch.
      load: makes a version ready to serve, warm-up included; whatever it raises marks the version as broken.
      policy: which of the versions in the folder are served.
      optional: whether nothing is said of a folder without a version.
    """

    def __init__(
        self,
        name: str,
        base: Path,
        load: Callable[[Path], Model],
        policy: versions.Policy = versions.NEWEST,
        optional: bool = False,
    ) -> None:
        self.name = name
        self.base = base
        self._load = load
        self._policy = policy
        self._optional = optional
        self._lock = threading.Lock()
        self._served: dict[int, _Served[Model]] = {}
        self._statuses: dict[int, Status] = {}
        self._broken: dict[int, tuple[int, int] | None] = {}
        self._waiting: frozenset[int] = frozenset()
        self._problem = ""
        self._settled = False
        self._retired = False
        # Withdrawn versions that requests still work with.
        self._leaving = 0
        self._unloaded = threading.Event()
        self._collect_again = False
        self._stop = threading.Event()
        self._look_now = threading.Event()
        self._first_look = threading.Event()
        self._first_available = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def use(self, number: int | None = None) -> Iterator[tuple[int, Model]]:
        """A version and its model, which stays in memory for as long as the block runs.

        Args:
          number: the version wanted; None takes the newest that is served.

        Raises:
          NotServedError: if that version, or any version at all, is not served.
        """
        with self._lock:
            served = self._find(number)
            served.users += 1
        try:
            yield served.number, served.model
        finally:
            with self._lock:
                served.users -= 1
                unused = served.withdrawn and served.users == 0
            if unused:
                self._forget(served)

    def statuses(self) -> dict[int, Status]:
        """Every version seen since the start, by number."""
        with self._lock:
            return dict(self._statuses)

    def wait_until_available(self, timeout: float) -> bool:
        """Whether some version has become available within `timeout` seconds."""
        return self._first_available.wait(timeout)

    def wait_until_settled(self, timeout: float) -> bool:
        """Whether what the folder held at the first look has been loaded or refused within `timeout` seconds."""
        return self._first_look.wait(timeout)

    def available(self) -> frozenset[int]:
        """Numbers of the versions that are served now."""
        with self._lock:
            return frozenset(self._served)

    def follow(self, policy: versions.Policy) -> None:
        """Serves by another policy from the next look on, which comes at once."""
        self._policy = policy
        self._look_now.set()

    def start(self, interval: float) -> None:
        """Looks into the folder every `interval` seconds from now on, on a thread of its own."""
        self._thread = threading.Thread(target=self._watch, args=(interval,), name="souk-versions", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Ends the looking; a load under way is given `timeout` seconds to end."""
        self._stop.set()
        self._look_now.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def retire(self) -> None:
        """Ends the looking and withdraws every version; requests in flight are answered still."""
        self._retired = True
        self._stop.set()
        self._look_now.set()
        with self._lock:
            gone = list(self._served.values())
        for served in gone:
            self._withdraw(served)

    def reconcile(self) -> None:
        """Looks into the folder once, and loads and withdraws what that asks for."""
        again = self._unloaded.is_set()
        if again:
            self._unloaded.clear()
        # The last request tells of its end just before it lets go of the model, hence a second time at the next look.
        if again or self._collect_again:
            free_memory()
        self._collect_again = again
        try:
            folders = versions.scan(self.base)
        except OSError as error:
            self._say_once(f"cannot read {self.base} ({error.strerror or error}); keeping what is served")
        else:
            self._say_once("" if folders else f"no version in {self.base} yet; waiting for one")
            self._tell_incomplete(folders)
            wanted = self._load_wanted(folders)
            with self._lock:
                gone = [served for number, served in self._served.items() if number not in wanted]
            for served in gone:
                self._withdraw(served)
        with self._lock:
            self._settled = True
        self._first_look.set()

    def _watch(self, interval: float) -> None:
        while True:
            try:
                self.reconcile()
            except Exception:
                log.exception("looking for versions in %s failed; trying again in %g s", self.base, interval)
            self._look_now.wait(interval)
            self._look_now.clear()
            if self._stop.is_set():
                break
            # Whoever asks comes before what is loaded from now on. Linux has a niceness for each thread.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        if self._retired:
            while self._leaving:
                time.sleep(interval)
            # The last request tells of its end just before it lets go of the model.
            time.sleep(interval)
            free_memory()

    def _load_wanted(self, folders: list[versions.VersionFolder]) -> set[int]:
        """Loads until the versions of the policy that are not broken are served; returns their numbers."""
        while not self._stop.is_set():
            sound = [folder for folder in folders if self._broken.get(folder.number) != folder.stamp]
            wanted = versions.choose(sound, self._policy)
            missing = next((folder for folder in wanted if folder.number not in self._served), None)
            if missing is None:
                return {folder.number for folder in wanted}
            self._bring_up(missing)
        return set(self._served)

    def _bring_up(self, folder: versions.VersionFolder) -> None:
        log.info("%s, version %d: loading %s", self.name, folder.number, folder.path)
        self._set(folder.number, Status(State.LOADING))
        started = time.monotonic()
        try:
            model = self._load(folder.path)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            self._broken[folder.number] = folder.stamp
            self._set(folder.number, Status(State.END, message))
            log.error("%s, version %d cannot be served and is skipped: %s", self.name, folder.number, message)
            return
        self._broken.pop(folder.number, None)
        with self._lock:
            if self._stop.is_set():
                # Who withdrew everything meanwhile would not see this one.
                self._statuses[folder.number] = Status(State.END)
                return
            self._served[folder.number] = _Served(folder.number, model)
            self._statuses[folder.number] = Status(State.AVAILABLE)
        self._first_available.set()
        log.info("%s, version %d: available after %.1f s", self.name, folder.number, time.monotonic() - started)

    def _withdraw(self, served: _Served[Model]) -> None:
        with self._lock:
            if self._served.pop(served.number, None) is None:
                return
            served.withdrawn = True
            self._leaving += 1
            self._statuses[served.number] = Status(State.UNLOADING)
            users = served.users
        log.info("%s, version %d: withdrawn, %d requests in flight", self.name, served.number, users)
        if users == 0:
            self._forget(served)

    def _forget(self, served: _Served[Model]) -> None:
        with self._lock:
            self._leaving -= 1
            # A version may have come back in the meantime; then its state is that of the new load.
            if self._statuses.get(served.number) == Status(State.UNLOADING):
                self._statuses[served.number] = Status(State.END)
        self._unloaded.set()
        log.info("%s, version %d: unloaded", self.name, served.number)

    def _find(self, number: int | None) -> _Served[Model]:
        if number is None:
            if self._served:
                return self._served[max(self._served)]
            asked = f"Latest({self.name})"
            loading = any(status.state is State.LOADING for status in self._statuses.values())
        else:
            if number in self._served:
                return self._served[number]
            asked = f"Specific({self.name}, {number})"
            status = self._statuses.get(number)
            loading = status is not None and status.state is State.LOADING
        raise NotServedError(f"Servable not found for request: {asked}", loading or not self._settled)

    def _set(self, number: int, status: Status) -> None:
        with self._lock:
            self._statuses[number] = status
            ended = sorted(key for key, value in self._statuses.items() if value.state is State.END)
            for key in ended[:-_REMEMBERED_VERSIONS]:
                del self._statuses[key]

    def _tell_incomplete(self, folders: list[versions.VersionFolder]) -> None:
        waiting = frozenset(folder.number for folder in folders if not folder.complete)
        for number in sorted(waiting - self._waiting):
            log.info("%s, version %d: no saved_model.pb yet; waiting for its copy to end", self.name, number)
        self._waiting = waiting

    def _say_once(self, problem: str) -> None:
        if problem and problem != self._problem and not self._optional:
            log.warning(problem)
        self._problem = problem

"""Runs an aiohttp server on a thread of its own, beside a program that is not asynchronous itself."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiohttp import web

_Result = TypeVar("_Result")


class HttpThread:
    """A server that answers from construction until `stop`.

    Args:
      opening: sets up a runner, opens its port and returns it. Handlers put blocking work on other threads with
        `asyncio.to_thread`.
      workers: the most calls of `asyncio.to_thread` at once; further ones wait.
      name: of the threads.

    Raises:
      OSError: if the port cannot be opened.
    """

    def __init__(self, opening: Coroutine[Any, Any, web.BaseRunner], workers: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(self._pool)
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()
        try:
            self._runner = self._in_loop(opening)
        except BaseException:
            self._end()
            raise
        self.port = int(self._runner.addresses[0][1])

    def stop(self) -> None:
        """Takes no new request, gives those in flight the runner's `shutdown_timeout`, and ends."""
        self._in_loop(self._runner.cleanup())
        self._end()

    def _in_loop(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._pool.shutdown(wait=False)

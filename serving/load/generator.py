"""Sends requests when they are due, whether or not earlier ones were answered (an open loop).

A latency counts from the moment at which its request was due, so that a server that stands still for a second is
charged with all that would have come in that second, and not with the one request that happened to be sent (what Gil
Tene calls coordinated omission).
"""

import asyncio
import itertools
import math
import random
import selectors
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import grpc

from serving.load import arrivals
from serving.load.config import LoadConfig
from serving.load.report import NOT_SENT, OK, WRONG_ANSWER, Report
from serving.load.requests import predict_requests
from serving.load.stretches import Stretches
from souk_client.client import ServingError
from souk_client.protos import prediction_service_pb2

Inspect = Callable[[prediction_service_pb2.PredictResponse], str | None]
Result = TypeVar("Result")

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
    # What fails is to be counted, not tried again.
    ("grpc.enable_retries", 0),
    # Else all connections to one address would be the same.
    ("grpc.use_local_subchannel_pool", 1),
]
_CONNECT_S = 10.0
_LONGEST_SLEEP_S = 0.1


class Generator:
    """One run of traffic against one server.

    Args:
      target: "host:port" of the server.
      values: what to send, one row each: serialized tf.Examples, or texts where the signature takes them. Each request
        is one of them, drawn at random.
      config: how to send it.
      inspect: gets every answer; what it returns, unless None, says what is wrong with it.
      credentials: channel credentials; None sends in clear text.
      token: bearer token to show, or None.

    Raises:
      InputError: if there is nothing to send.
    """

    def __init__(
        self,
        target: str,
        values: Sequence[bytes],
        config: LoadConfig,
        *,
        inspect: Inspect | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
    ) -> None:
        self._target, self._config, self._inspect = target, config, inspect
        self._requests = predict_requests(values, config)
        self._credentials = credentials
        self._headers = None if token is None else (("authorization", f"Bearer {token}"),)
        self._stopped = False

    def stop(self) -> None:
        """Ends the sending before its time; may be called by any thread."""
        self._stopped = True

    async def run(
        self,
        *,
        endless: bool = False,
        started: Callable[[Stretches], None] = lambda stretches: None,
        first: str = "",
    ) -> list[Report]:
        """Sends, waits for the last answers, and returns a report for each stretch.

        Args:
          endless: send until `stop`, however long `config.seconds`.
          started: is called when the clock starts to run.
          first: name of the first stretch.

        Raises:
          ServingError: if nobody listens at the target.
        """
        channels = [self._open() for _ in range(self._config.connections)]
        try:
            await self._connect(channels)
            calls = itertools.cycle([channel.unary_unary(_PREDICT) for channel in channels])
            clock = asyncio.get_running_loop().time
            began = clock()
            stretches = Stretches(lambda: clock() - began, first)
            started(stretches)
            seconds = math.inf if endless else self._config.seconds
            await self._send(calls, lambda: clock() - began, stretches, seconds)
            return stretches.end(min(seconds, clock() - began) if self._stopped else seconds)
        finally:
            await asyncio.gather(*(channel.close() for channel in channels))

    async def _send(
        self, calls: Iterator[Any], clock: Callable[[], float], stretches: Stretches, seconds: float
    ) -> None:
        order = random.Random(self._config.seed + 1)
        slots = asyncio.Semaphore(self._config.in_flight)
        waiting: set[asyncio.Task[None]] = set()
        for due in arrivals.poisson(self._config.rate, seconds, self._config.seed):
            while not self._stopped and (left := due - clock()) > 0:
                await asyncio.sleep(min(left, _LONGEST_SLEEP_S))
            if self._stopped:
                break
            request = order.choice(self._requests)
            if not await _taken(slots, due + self._config.timeout_s - clock()):
                problem = f"{self._config.in_flight} requests waited for answers"
                stretches.of(due).enter(due, NOT_SENT, clock() - due, problem=problem)
                continue
            task = asyncio.create_task(self._ask(next(calls), request, due, clock, stretches.of(due)))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
            task.add_done_callback(lambda _: slots.release())
        await asyncio.gather(*waiting)

    async def _ask(self, call: Any, request: bytes, due: float, clock: Callable[[], float], report: Report) -> None:
        late = clock() - due
        report.sent_late.add(late)
        try:
            answer = await call(request, timeout=self._config.timeout_s - late, metadata=self._headers)
        except grpc.aio.AioRpcError as error:
            report.enter(due, error.code().name, clock() - due, problem=error.details() or "")
            return
        took = clock() - due
        response = prediction_service_pb2.PredictResponse.FromString(answer)
        problem = None if self._inspect is None else self._inspect(response)
        code = OK if problem is None else WRONG_ANSWER
        report.enter(due, code, took, response.model_spec.version.value, problem or "")

    def _open(self) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._target, _OPTIONS)
        return grpc.aio.secure_channel(self._target, self._credentials, _OPTIONS)

    async def _connect(self, channels: Sequence[grpc.aio.Channel]) -> None:
        try:
            await asyncio.wait_for(asyncio.gather(*(channel.channel_ready() for channel in channels)), _CONNECT_S)
        except TimeoutError:
            raise ServingError(
                f"No server answers at {self._target}. "
                "Start one with `souk serve --model-dir DIR`, or give its address.",
                grpc.StatusCode.UNAVAILABLE,
            ) from None


def send(target: str, values: Sequence[bytes], config: LoadConfig, **options: Any) -> Report:
    """Sends traffic as `config` says and waits for its answers; arguments and errors as for `Generator`."""
    generator = Generator(target, values, config, **options)
    return run_loop(generator.run())[0]


def run_loop(main: Coroutine[Any, Any, Result]) -> Result:
    """Runs `main` on an event loop that wakes up on time."""
    # epoll rounds every sleep up to whole milliseconds; select does not.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(main)


async def _taken(slots: asyncio.Semaphore, seconds: float) -> bool:
    if seconds <= 0:
        return False
    if not slots.locked():
        return await slots.acquire()
    try:
        return await asyncio.wait_for(slots.acquire(), seconds)
    except TimeoutError:
        return False

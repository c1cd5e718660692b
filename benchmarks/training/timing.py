"""Training steps timed in turns, so that whatever else the machine does slows all of them alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

WARM_UP = 4


@dataclass(frozen=True)
class Contender:
    """Something that trains.

    Attributes:
      name: shown.
      step: does one training step.
      examples: (query, clicked item) pairs, or requests, that one step learns from, on average.
    """

    name: str
    step: Callable[[], Any]
    examples: float


@dataclass(frozen=True)
class Timing:
    """Seconds per step in each round.

    Attributes:
      contender: what was timed.
      seconds: [rounds].
      cpu_seconds: [rounds], of all threads together; hardly longer where other programs use the processors too.
    """

    contender: Contender
    seconds: NDArray[np.float64]
    cpu_seconds: NDArray[np.float64]

    @property
    def milliseconds(self) -> float:
        """Median time of a step."""
        return float(np.median(self.seconds) * 1e3)

    @property
    def cpu_milliseconds(self) -> float:
        """Median processor time of a step."""
        return float(np.median(self.cpu_seconds) * 1e3)

    @property
    def examples_per_second(self) -> float:
        """By the median step."""
        return self.contender.examples / float(np.median(self.seconds))

    def speed_over(self, other: "Timing") -> NDArray[np.float64]:
        """How many times the examples per second of `other`, by round."""
        ours = self.contender.examples / self.seconds
        return ours / (other.contender.examples / other.seconds)

    def thrift_over(self, other: "Timing") -> NDArray[np.float64]:
        """How many times the examples per second of processor time of `other`, by round."""
        ours = self.contender.examples / self.cpu_seconds
        return ours / (other.contender.examples / other.cpu_seconds)


def stepper(model: keras.Model, batches: tf.data.Dataset) -> Callable[[], Any]:
    """One step of `fit`, over batches that come again and again."""
    function = model.make_train_function()
    iterator = iter(batches.repeat())
    return lambda: function(iterator)


def interleave(contenders: Sequence[Contender], rounds: int, steps: int = 3) -> list[Timing]:
    """Times `steps` steps of each in turn, `rounds` times over, after warming all up."""
    for contender in contenders:
        for _ in range(WARM_UP):
            contender.step()
    seconds = np.zeros([len(contenders), rounds])
    cpu_seconds = np.zeros([len(contenders), rounds])
    for turn in range(rounds):
        for number, contender in enumerate(contenders):
            started, cpu_started = time.perf_counter(), time.process_time()
            for _ in range(steps):
                contender.step()
            seconds[number, turn] = (time.perf_counter() - started) / steps
            cpu_seconds[number, turn] = (time.process_time() - cpu_started) / steps
    return [Timing(*timed) for timed in zip(contenders, seconds, cpu_seconds, strict=True)]


def middle(ratios: NDArray[np.float64]) -> str:
    """Median of the ratios by round, and the range of their middle eight tenths."""
    low, median, high = np.percentile(ratios, [10, 50, 90])
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"

"""One candidate's interview: questions are sent, answers are checked, and what is wrong is kept."""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

import grpc

from components.canary import checks, slowdown
from components.canary.result import Latency
from components.canary.traffic import Question
from schema import features
from schema.features import RelevanceControl
from souk_client import wire
from souk_client.answers import Rows, Searcher, ServingError
from souk_client.client import Client

# A candidate that hangs would otherwise use up a deadline for every question.
_MOST_DEADLINES = 3
_MOST_FAILURES = 20
# Seconds between two attempts, in which what holds the machine up may pass.
_PAUSE_S = 1.0

Answered = TypeVar("Answered")


class Interview:
    """Collects what is wrong with a candidate, from any number of questions.

    Args:
      known: ids of the catalog.
      searchable: how many items the candidate can find at all: duplicates of a listing are not indexed.
      attempts: how often a question is asked that is answered too late.

    A step (`ask_...`) may raise `ServingError` or `ValueError` where it cannot go on; the caller notes it.
    """

    def __init__(self, known: Collection[bytes], searchable: int, attempts: int = 1) -> None:
        self._known = known
        self._searchable = searchable
        self._attempts = attempts
        self._problems: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._latencies_ms: dict[str, float] = {}
        self._deadlines = 0
        self.attempts = 0
        self.slowdown: float | None = None
        self.allowed_p99_ms: float | None = None
        self.places: int | None = None
        self.edge_latency_ms: dict[str, float] = {}

    @property
    def failures(self) -> list[str]:
        """What is wrong, once for each kind of problem, with where it was seen first."""
        lines = [_line(kind, seen) for kind, seen in self._problems.items()]
        more = len(lines) - _MOST_FAILURES
        return lines if more <= 0 else [*lines[:_MOST_FAILURES], f"and {more} more kinds of problem"]

    @property
    def latency(self) -> Latency | None:
        """Latency of the questions that were asked singly and answered, each the lowest of its attempts."""
        return Latency.of(list(self._latencies_ms.values())) if self._latencies_ms else None

    def fail(self, problem: str, detail: str = "", where: str = "") -> None:
        """Notes one problem; one that the same question has again at a further attempt counts once."""
        seen = self._problems[problem]
        if not where or all(where != known for known, _ in seen):
            seen.append((where, detail))

    def ask_signatures(self, client: Client) -> None:
        """Whether everything that Souk's clients call is there."""
        for problem in checks.check_signatures(self._in_time(client.metadata)):
            self.fail(*problem)

    def ask_singly(self, client: Searcher, questions: Sequence[Question], p99_limit_ms: float | None) -> None:
        """Real requests one at a time, as a shop's pages send them, and how long they take.

        Where they take too long they are asked again: a request that the machine held up is faster the next time, one
        that the candidate is slow at is not. Both the latency and the slowdown are the lowest of all attempts.
        """
        for attempt in range(1, self._attempts + 1):
            if attempt > 1:
                time.sleep(_PAUSE_S)
            self.attempts = attempt
            now = self._ask_each(client, questions)
            self.slowdown = now if self.slowdown is None else min(now, self.slowdown)
            if p99_limit_ms is None or self.latency is None:
                return
            self.allowed_p99_ms = p99_limit_ms * self.slowdown
            too_slow = checks.check_latency(self.latency.p99, p99_limit_ms, self.slowdown, attempt)
            if not too_slow:
                return
        for problem in too_slow:
            self.fail(*problem)

    def ask_edges(self, client: Searcher, questions: Sequence[Question]) -> None:
        """Awkward requests; their latency is kept, and has no limit but the deadline."""
        for question in questions:
            latency_ms = self._ask(client, question)
            if latency_ms is not None:
                self.edge_latency_ms[question.name] = latency_ms

    def ask_together(self, client: Searcher, questions: Sequence[Question]) -> None:
        """Several requests in one call."""
        examples = [question.example for question in questions]
        ask = partial(client.retrieve, features.SIGNATURE_DEFAULT, features.INPUT_EXAMPLES, examples)
        self._check(self._in_time(ask), questions, ", in a batch")

    def ask_text(self, client: Searcher, query: bytes) -> None:
        """A query alone."""
        question = Question(f"signature `{features.SIGNATURE_QUERY_TEXT}`", b"")
        ask = partial(client.retrieve, features.SIGNATURE_QUERY_TEXT, features.INPUT_QUERY, [query])
        self._check(self._in_time(ask), [question])

    def ask_encoders(self, client: Client, request: bytes, items: Sequence[bytes]) -> None:
        """Vectors of one request [1, heads, dim] and of some items [items, dim]."""
        for signature, examples, rank in (
            (features.SIGNATURE_ENCODE_QUERY, [request], 3),
            (features.SIGNATURE_ENCODE_ITEMS, items, 2),
        ):
            response = self._in_time(partial(client.predict, signature, features.INPUT_EXAMPLES, examples))
            tensor = response.outputs[features.OUTPUT_VECTORS]
            shape = [dim.size for dim in tensor.tensor_shape.dim]
            for problem in checks.check_vectors(wire.float_values(tensor), shape, len(examples), rank):
                self.fail(*problem, where=f"signature `{signature}`")

    def _ask_each(self, client: Searcher, questions: Sequence[Question]) -> float:
        """Asks every question once and keeps its lowest latency; returns the slowdown meanwhile."""
        ratios = []
        for question in questions:
            ratios.append(slowdown.measure())
            latency_ms = self._ask(client, question)
            if latency_ms is not None:
                self._latencies_ms[question.name] = min(latency_ms, self._latencies_ms.get(question.name, latency_ms))
        return slowdown.typical(ratios)

    def _ask(self, client: Searcher, question: Question) -> float | None:
        """Sends one question, checks its answer, and returns its latency in milliseconds; None without an answer."""

        def timed() -> tuple[Rows, float]:
            started = time.perf_counter()
            found = client.retrieve(features.SIGNATURE_DEFAULT, features.INPUT_EXAMPLES, [question.example])
            return found, (time.perf_counter() - started) * 1e3

        try:
            found, latency_ms = self._in_time(timed)
        except ServingError as error:
            self._deadlines += error.code is grpc.StatusCode.DEADLINE_EXCEEDED
            if error.code is grpc.StatusCode.UNAVAILABLE or self._deadlines >= _MOST_DEADLINES:
                raise
            self.fail(str(error), where=question.name)
            return None
        self._check(found, [question])
        return latency_ms

    def _in_time(self, ask: Callable[[], Answered]) -> Answered:
        """What `ask` returns, which is called again where the answer is too late."""
        for attempt in itertools.count(1):
            try:
                return ask()
            except ServingError as error:
                if error.code is not grpc.StatusCode.DEADLINE_EXCEEDED or self._attempts == 1:
                    raise
                if attempt == self._attempts:
                    raise ServingError(f"{error} It was asked {attempt} times.", error.code) from error
        raise AssertionError

    def _check(self, found: Rows, questions: Sequence[Question], how: str = "") -> None:
        for question, row in zip(questions, found.rows, strict=True):
            self.places = len(row.ids)
            # Relevance control may leave items out, never all of them.
            most = 1 if row.relevance_control == RelevanceControl.APPLIED else len(row.ids)
            wanted = min(most, self._searchable) if question.full else 0
            for problem in checks.check_answer(row.ids, row.scores, self._known, wanted):
                self.fail(*problem, where=question.name + how)


def _line(problem: str, seen: Sequence[tuple[str, str]]) -> str:
    where, detail = seen[0]
    notes = [note for note in (detail, where, f"and {len(seen) - 1} more" if len(seen) > 1 else "") if note]
    return f"{problem} ({', '.join(notes)})" if notes else problem

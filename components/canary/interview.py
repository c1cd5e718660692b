"""One candidate's interview: questions are sent, answers are checked, and what is wrong is kept."""

import time
from collections import defaultdict
from collections.abc import Collection, Sequence

import grpc

from components.canary import checks
from components.canary.result import Latency
from components.canary.traffic import Question
from schema import features
from schema.features import RelevanceControl
from serving import wire
from serving.answers import Rows, Searcher, ServingError
from serving.client import Client

# A candidate that hangs would otherwise use up a deadline for every question.
_MOST_DEADLINES = 3
_MOST_FAILURES = 20


class Interview:
    """Collects what is wrong with a candidate, from any number of questions.

    Args:
      known: ids of the catalogue.
      searchable: how many items the candidate can find at all: duplicates of a listing are not indexed.

    A step (`ask_...`) may raise `ServingError` or `ValueError` where it cannot go on; the caller notes it.
    """

    def __init__(self, known: Collection[bytes], searchable: int) -> None:
        self._known = known
        self._searchable = searchable
        self._problems: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._latencies_ms: list[float] = []
        self._deadlines = 0
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
        """Latency of the questions that were asked singly."""
        return Latency.of(self._latencies_ms) if self._latencies_ms else None

    def fail(self, problem: str, detail: str = "", where: str = "") -> None:
        """Notes one problem."""
        self._problems[problem].append((where, detail))

    def ask_signatures(self, client: Client) -> None:
        """Whether everything that Souk's clients call is there."""
        for problem in checks.check_signatures(client.metadata()):
            self.fail(*problem)

    def ask_singly(self, client: Searcher, questions: Sequence[Question], p99_limit_ms: float | None) -> None:
        """Real requests one at a time, as a shop's pages send them, and how long they take."""
        for question in questions:
            self._latencies_ms.append(self._ask(client, question))
        for problem in checks.check_latency(Latency.of(self._latencies_ms).p99, p99_limit_ms):
            self.fail(*problem)

    def ask_edges(self, client: Searcher, questions: Sequence[Question]) -> None:
        """Awkward requests; their latency is kept, and has no limit but the deadline."""
        for question in questions:
            self.edge_latency_ms[question.name] = self._ask(client, question)

    def ask_together(self, client: Searcher, questions: Sequence[Question]) -> None:
        """Several requests in one call."""
        found = client.retrieve(
            features.SIGNATURE_DEFAULT, features.INPUT_EXAMPLES, [question.example for question in questions]
        )
        self._check(found, questions, ", in a batch")

    def ask_text(self, client: Searcher, query: bytes) -> None:
        """A query alone."""
        question = Question(f"signature `{features.SIGNATURE_QUERY_TEXT}`", b"")
        self._check(client.retrieve(features.SIGNATURE_QUERY_TEXT, features.INPUT_QUERY, [query]), [question])

    def ask_encoders(self, client: Client, request: bytes, items: Sequence[bytes]) -> None:
        """Vectors of one request [1, heads, dim] and of some items [items, dim]."""
        for signature, examples, rank in (
            (features.SIGNATURE_ENCODE_QUERY, [request], 3),
            (features.SIGNATURE_ENCODE_ITEMS, items, 2),
        ):
            response = client.predict(signature, features.INPUT_EXAMPLES, examples)
            tensor = response.outputs[features.OUTPUT_VECTORS]
            shape = [dim.size for dim in tensor.tensor_shape.dim]
            for problem in checks.check_vectors(wire.float_values(tensor), shape, len(examples), rank):
                self.fail(*problem, where=f"signature `{signature}`")

    def _ask(self, client: Searcher, question: Question) -> float:
        """Sends one question, checks its answer, and returns its latency in milliseconds."""
        started = time.perf_counter()
        try:
            found = client.retrieve(features.SIGNATURE_DEFAULT, features.INPUT_EXAMPLES, [question.example])
        except ServingError as error:
            self._deadlines += error.code is grpc.StatusCode.DEADLINE_EXCEEDED
            if error.code is grpc.StatusCode.UNAVAILABLE or self._deadlines >= _MOST_DEADLINES:
                raise
            self.fail(str(error), where=question.name)
            return (time.perf_counter() - started) * 1e3
        latency_ms = (time.perf_counter() - started) * 1e3
        self._check(found, [question])
        return latency_ms

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

"""The judgment over many questions, against a server in this process; a process of its own is `test_probe`'s."""

import itertools
import time

import grpc
import pytest

from components.canary import slowdown, traffic
from components.canary.interview import Interview
from serving.config import ServingConfig
from serving.server.server import RunningServer, start
from souk_client.client import Client, ServingError


def hold_up(server: RunningServer, seconds: dict[int, float]) -> None:
    """Lets the server begin with some requests later than they come."""
    run, numbers = server.predictor.runner.run, itertools.count()

    def run_later(*arguments):
        time.sleep(seconds.get(next(numbers), 0.0))
        return run(*arguments)

    server.predictor.runner.run = run_later


@pytest.fixture
def ask(examples_uri, candidate, tmp_path):
    """Serves the candidate with a flaw, and holds an interview with it about everything."""
    servers = []

    def hold(
        flaw: str,
        p99_limit_ms: float | None = None,
        searchable: int | None = None,
        attempts: int = 1,
        timeout_s: float = 10.0,
        held_up: dict[int, float] | None = None,
    ) -> Interview:
        """`held_up`: seconds by which the machine holds up single requests, by their number in order."""
        (tmp_path / "1").symlink_to(candidate(flaw))
        servers.append(start(ServingConfig(model_dir=str(tmp_path), port=0)))
        assert servers[-1].manager.wait_until_available(60)
        known = traffic.catalog_ids(examples_uri)
        hold_up(servers[-1], held_up or {})
        interview = Interview(known, searchable or len(known), attempts)
        questions = traffic.eval_questions(examples_uri, 12, seed=0)
        with Client(servers[-1].address, timeout_s=timeout_s) as client:
            interview.ask_signatures(client)
            interview.ask_singly(client, questions, p99_limit_ms)
            interview.ask_edges(client, traffic.edge_questions(b"red shoes"))
            interview.ask_together(client, questions)
            interview.ask_text(client, b"red shoes")
            interview.ask_encoders(client, questions[0].example, traffic.catalog_examples(examples_uri, 3))
        return interview

    yield hold
    for server in servers:
        server.stop(grace=1)


def test_a_good_candidate_has_no_failure(ask):
    interview = ask("none")
    assert interview.failures == []
    assert (interview.places, interview.latency.requests) == (10, 12)
    assert interview.edge_latency_ms.keys() == {question.name for question in traffic.edge_questions(b"x")}


# 37 answers are seen: 12 single, 12 awkward, 12 in a batch and one to a query alone. The two requests without
# words have equal scores, which reversing leaves in order; with the one that is not UTF-8 they may find less.
@pytest.mark.parametrize(
    ("flaw", "failures"),
    [
        ("nan_scores", ["a score is not a finite number (request 1 of the eval split, and 36 more)"]),
        ("unsorted", ["the scores do not go down from place to place (request 1 of the eval split, and 34 more)"]),
        (
            "unknown_ids",
            [
                "an item is not in the catalog ('of another catalog', request 1 of the eval split, and 36 more)",
            ],
        ),
        ("short", ["too few items are found (5, expected 10, request 1 of the eval split, and 32 more)"]),
        ("empty_control", ["too few items are found (0, expected 1, relevance control)"]),
    ],
)
def test_a_flaw_is_reported_once_with_where_it_was_seen_first(ask, flaw, failures):
    assert ask(flaw).failures == failures


def test_a_short_answer_is_full_where_the_index_holds_no_more(ask):
    assert ask("short", searchable=5).failures == []


def test_an_item_that_is_returned_twice_is_found(ask):
    (failure,) = ask("duplicate_ids").failures
    assert failure.startswith("an item is returned more than once ('v1-")


def test_a_candidate_that_fails_on_one_awkward_request_is_found(ask):
    failures = ask("fails_on_long_query").failures
    assert len(failures) == 1
    assert "this model takes short queries only" in failures[0]
    assert "(a query of 10,000 characters, and 1 more)" in failures[0]


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_slow_candidate_is_found(ask, attempts):
    interview = ask("none", p99_limit_ms=0.001, attempts=attempts)
    (failure,) = interview.failures
    assert failure.startswith("the 99th percentile of the latency is too high (")
    assert ("at its fastest of 2 attempts; allowed" in failure) == (attempts == 2)
    assert interview.attempts == attempts
    assert interview.allowed_p99_ms == 0.001 * interview.slowdown
    assert interview.latency.p99 > interview.allowed_p99_ms


def test_requests_that_are_held_up_once_are_asked_again(ask, monkeypatch):
    # Whatever else this machine does must not explain the delay.
    monkeypatch.setattr(slowdown, "measure", lambda: 1.0)
    interview = ask("none", p99_limit_ms=2000.0, attempts=3, timeout_s=60.0, held_up={3: 2.5, 7: 2.5})
    assert interview.failures == []
    assert interview.attempts > 1
    assert interview.latency.requests == 12
    assert interview.latency.max <= interview.allowed_p99_ms == 2000.0


def test_a_request_beyond_its_deadline_is_asked_again(ask):
    # The first of those asked singly, the first awkward one, the batch, the query alone, and both encoders.
    late = dict.fromkeys([0, 13, 26, 28, 30, 32], 1.5)
    assert ask("none", attempts=3, timeout_s=1.0, held_up=late).failures == []


def test_a_request_that_is_always_late_fails_the_candidate(ask):
    # The first request, and it once more.
    (failure,) = ask("none", attempts=2, timeout_s=1.0, held_up={0: 1.5, 1: 1.5}).failures
    assert "did not answer within 1 s. It was asked 2 times. (request 1 of the eval split)" in failure


def test_an_answer_that_is_wrong_at_every_attempt_counts_once(ask):
    wrong, slow = ask("nan_scores", p99_limit_ms=0.001, attempts=2).failures
    assert wrong == "a score is not a finite number (request 1 of the eval split, and 36 more)"
    assert slow.startswith("the 99th percentile")


def test_many_kinds_of_problem_are_cut_short():
    interview = Interview(frozenset(), 0)
    for number in range(25):
        interview.fail(f"problem {number}")
    assert len(interview.failures) == 21
    assert interview.failures[-1] == "and 5 more kinds of problem"


@pytest.mark.parametrize(
    ("code", "asked"), [(grpc.StatusCode.UNAVAILABLE, 1), (grpc.StatusCode.DEADLINE_EXCEEDED, 6), (None, 10)]
)
def test_a_server_that_is_gone_or_hangs_is_not_asked_to_the_end(monkeypatch, code, asked):
    calls = []

    def refuse(*arguments):
        calls.append(arguments)
        raise ServingError("refused", code or grpc.StatusCode.INTERNAL)

    questions = [traffic.Question(f"question {number}", b"") for number in range(10)]
    with Client("localhost:1") as client:
        monkeypatch.setattr(client, "retrieve", refuse)
        interview = Interview(frozenset(), 0, attempts=2)
        if code is None:
            interview.ask_edges(client, questions)
        else:
            with pytest.raises(ServingError):
                interview.ask_edges(client, questions)
    assert len(calls) == asked

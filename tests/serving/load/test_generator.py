"""Against Souk's own server, and against small gRPC servers that stand still or fail when they are told to."""

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
import pytest

from schema.settings import InputError
from serving.load import arrivals
from serving.load.background import BackgroundLoad
from serving.load.config import LoadConfig
from serving.load.generator import send
from serving.load.requests import examples_of
from serving.server.server import RunningServer
from souk_client.client import ServingError
from souk_client.protos import prediction_service_pb2

EXAMPLES = examples_of(["red shoes", "black lamp"])
PredictRequest, PredictResponse = prediction_service_pb2.PredictRequest, prediction_service_pb2.PredictResponse


@contextlib.contextmanager
def grpc_server(answer: Callable[[PredictRequest, grpc.ServicerContext], PredictResponse], threads=4) -> Iterator[str]:
    method = grpc.unary_unary_rpc_method_handler(answer, PredictRequest.FromString, PredictResponse.SerializeToString)
    server = grpc.server(futures.ThreadPoolExecutor(threads))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def version(number: int) -> PredictResponse:
    response = PredictResponse()
    response.model_spec.version.value = number
    return response


def test_every_request_that_is_due_is_sent_and_answered(server: RunningServer):
    config = LoadConfig(rate=60, seconds=1.5, seed=4)
    report = send(server.address, EXAMPLES, config)
    due = list(arrivals.poisson(60, 1.5, 4))
    assert (report.due, report.failed, report.codes) == (len(due), 0, Counter(OK=len(due)))
    assert report.versions == Counter({3: len(due)})
    assert report.latency.count == report.sent_late.count == len(due)
    assert {at: second.due for at, second in report.by_second.items()} == Counter(map(int, due))
    assert report.offered_rate == len(due) / 1.5
    assert 0 < report.achieved_rate <= report.offered_rate


def test_texts_are_sent_to_a_signature_that_takes_them(server: RunningServer):
    seen = []
    config = LoadConfig(rate=40, seconds=0.5, signature="query_text", input_name="query", outputs=("item_ids",))
    report = send(server.address, [b"red shoes"], config, inspect=lambda answer: seen.append(answer))
    assert report.answered == len(seen) > 0
    assert {tuple(answer.outputs) for answer in seen} == {("item_ids",)}


def test_errors_are_counted_by_code_with_their_first_message(server: RunningServer):
    report = send(server.address, EXAMPLES, LoadConfig(rate=40, seconds=0.5, version=7))
    assert report.codes == Counter(NOT_FOUND=report.due)
    assert "Specific(souk, 7)" in report.problems["NOT_FOUND"]
    assert (report.answered, report.latency.count, report.achieved_rate) == (0, 0, 0)
    assert report.as_json()["latency_ms"] is None


def test_answers_that_are_found_wrong_are_failures():
    numbers = itertools.count()
    with grpc_server(lambda request, context: version(next(numbers) % 2)) as target:
        report = send(
            target,
            EXAMPLES,
            LoadConfig(rate=50, seconds=1),
            inspect=lambda answer: "an odd version" if answer.model_spec.version.value else None,
        )
    assert report.codes == Counter(OK=report.versions[0], WRONG_ANSWER=report.versions[1])
    assert report.problems == {"WRONG_ANSWER": "an odd version"}
    assert report.failed == report.versions[1] > 0


def test_a_standstill_is_charged_with_all_that_came_meanwhile():
    """A closed loop would see one slow request; here about half of the requests of one second wait."""
    lock, stood = threading.Lock(), []

    def answer(request, context):
        with lock:
            if not stood and time.monotonic() > began + 0.5:
                stood.append(True)
                time.sleep(1)
        return version(1)

    with grpc_server(answer, threads=1) as target:
        began = time.monotonic()
        report = send(target, EXAMPLES, LoadConfig(rate=100, seconds=2))
    assert report.failed == 0
    # The server is away for half of the time; waits fall evenly from 1 s to 0.
    assert report.latency.percentile(60) > 0.1
    assert report.latency.max > 0.8
    assert report.codes == {"OK": report.due}


def test_waiting_for_a_place_counts_where_few_may_be_in_flight():
    with grpc_server(lambda request, context: time.sleep(0.05) or version(1)) as target:
        report = send(target, EXAMPLES, LoadConfig(rate=60, seconds=1, in_flight=1, timeout_s=30))
    # One at a time is 20 a second: the last of about 60 requests waits for some 2 s.
    assert report.failed == 0
    assert report.latency.max > 1
    assert report.sent_late.max > 1
    assert report.achieved_rate < 20.5


def test_requests_that_expire_before_they_are_sent_have_failed():
    with grpc_server(lambda request, context: time.sleep(0.1) or version(1)) as target:
        report = send(target, EXAMPLES, LoadConfig(rate=100, seconds=1, in_flight=1, timeout_s=0.3))
    assert report.codes["NOT_SENT"] > 0
    assert report.problems["NOT_SENT"] == "1 requests waited for answers"
    assert report.failed > 0.5 * report.due
    assert report.codes["NOT_SENT"] + report.codes["OK"] + report.codes["DEADLINE_EXCEEDED"] == report.due
    assert report.latency.max < 0.5
    assert sum(second.failed for second in report.by_second.values()) == report.failed


def test_a_seed_fixes_what_is_sent():
    def sent(seed: int) -> list[bytes]:
        seen = []

        def answer(request, context):
            seen.append(request.inputs["examples"].string_val[0])
            return version(1)

        with grpc_server(answer, threads=1) as target:
            send(
                target, examples_of([str(number) for number in range(50)]), LoadConfig(rate=60, seconds=0.5, seed=seed)
            )
        return sorted(seen)

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)


def test_requests_take_several_connections_in_turn():
    peers = Counter()

    def answer(request, context):
        peers[context.peer()] += 1
        return version(1)

    with grpc_server(answer) as target:
        report = send(target, EXAMPLES, LoadConfig(rate=60, seconds=0.5, connections=3))
    assert len(peers) == 3
    assert max(peers.values()) - min(peers.values()) <= 1
    assert sum(peers.values()) == report.due


def test_traffic_beside_other_work_is_told_apart_by_stretches():
    number = [1]
    with grpc_server(lambda request, context: version(number[0])) as target:
        with BackgroundLoad(target, EXAMPLES, LoadConfig(rate=80), first="before") as load:
            time.sleep(0.5)
            number[0] = 2
            load.begin("after")
            time.sleep(0.5)
        before, after = load.reports
    assert (before.name, after.name) == ("before", "after")
    assert after.begins == pytest.approx(before.seconds)
    assert before.versions[1] > 10
    # Requests due before the change may have been answered after it; none the other way round.
    assert after.versions == Counter({2: after.due})
    assert before.failed == after.failed == 0
    assert set(after.by_second) == {0}


@pytest.mark.parametrize("how", [send, lambda *arguments: BackgroundLoad(*arguments).__enter__()])
def test_a_server_that_is_not_there_is_explained(how, monkeypatch):
    monkeypatch.setattr("serving.load.generator._CONNECT_S", 0.2)
    with pytest.raises(ServingError, match=r"No server answers at 127\.0\.0\.1:1\. ") as caught:
        how("127.0.0.1:1", EXAMPLES, LoadConfig())
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_nothing_to_send_is_explained():
    with pytest.raises(InputError, match="Give at least one"):
        send("127.0.0.1:1", [], LoadConfig())
    with pytest.raises(InputError, match="query is empty"):
        examples_of(["red shoes", " "])


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"seconds": -1}, {"in_flight": 0}, {"timeout_s": 0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        LoadConfig.parse(wrong)

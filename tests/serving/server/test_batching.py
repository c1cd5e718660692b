import threading
import time
from concurrent import futures

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.settings import InputError
from serving.server.batching import BatchingOptions, BatchingRunner, read_options
from serving.server.errors import RequestError
from serving.server.loader import LoadedModel, Signature
from serving.server.metrics import Metrics
from serving.server.registry import InUse
from souk_client.client import Client, ServingError
from souk_client.examples import search_example
from tests.serving import tiny_retriever
from tests.serving.waiting import wait_for


class Doubler:
    """A real TensorFlow function that doubles numbers, fails on negative ones, and remembers what it was run on."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.may_run = threading.Event()
        self.may_run.set()
        specs = [tf.TensorSpec([None, None], tf.float32, "x")]

        @tf.function(input_signature=specs)
        def double(x):
            with tf.control_dependencies([tf.debugging.assert_non_negative(x)]):
                return {"y": 2 * x, "rows": tf.fill([tf.shape(x)[0]], tf.shape(x)[0])}

        def run(x):
            self.may_run.wait(30)
            self.sizes.append(int(x.shape[0]))
            outputs = double(x)
            return outputs["y"].numpy(), outputs["rows"].numpy()

        signature = Signature(run, {"x": specs[0]}, ("y", "rows"))
        self.used = InUse("doubler", 1, LoadedModel({"double": signature}, None))


@pytest.fixture
def doubler():
    return Doubler()


def begin(**options) -> BatchingRunner:
    return BatchingRunner(BatchingOptions(**{"threads": 1, **options}), Metrics())


def x(*rows):
    return {"x": np.array(rows, np.float32).reshape([len(rows), np.size(rows[0]) if rows else 1])}


def queued(runner: BatchingRunner) -> int:
    return sum(len(queue) for queue in runner._queues.values())


def run_together(runner, doubler, requests, deadline=None):
    """Answers or errors of requests that all wait at once, behind one that is run."""
    doubler.may_run.clear()
    with futures.ThreadPoolExecutor(len(requests) + 1) as pool:
        holding = pool.submit(runner.run, doubler.used, "double", x([0]), None)
        wait_for(lambda: runner._running == 1 and holding.running(), "the first batch")
        waiting = []
        for request in requests:
            before = queued(runner)
            waiting.append(pool.submit(runner.run, doubler.used, "double", request, deadline))
            wait_for(lambda: queued(runner) > before or waiting[-1].done(), "the request to queue")  # noqa: B023
        doubler.may_run.set()
        holding.result(30)
        futures.wait(waiting, 30)
    return [task.exception() or task.result()["y"].tolist() for task in waiting]


def test_requests_that_wait_are_run_as_one(doubler):
    answers = run_together(begin(), doubler, [x([1]), x([2], [3]), x([4])])
    assert answers == [[[2]], [[4], [6]], [[8]]]
    assert doubler.sizes == [1, 4]


def test_a_batch_is_no_larger_than_allowed(doubler):
    answers = run_together(begin(max_batch_size=3), doubler, [x([1], [2]), x([3], [4]), x([5])])
    assert answers == [[[2], [4]], [[6], [8]], [[10]]]
    assert doubler.sizes == [1, 2, 3]


def test_inputs_of_other_shapes_are_run_apart(doubler):
    answers = run_together(begin(), doubler, [x([1]), x([2, 3]), x([4])])
    assert answers == [[[2]], [[4, 6]], [[8]]]
    assert sorted(doubler.sizes) == [1, 1, 2]


def test_a_wrong_input_fails_its_own_request_only(doubler):
    good, bad, other = run_together(begin(), doubler, [x([1]), x([-1]), x([4])])
    assert (good, other) == ([[2]], [[8]])
    assert isinstance(bad, tf.errors.InvalidArgumentError)


def test_a_full_queue_refuses_as_tensorflow_serving_does(doubler):
    runner = begin(max_batch_size=1, max_enqueued_batches=2)
    *answers, refused = run_together(runner, doubler, [x([1]), x([2]), x([3])])
    assert answers == [[[2]], [[4]]]
    assert isinstance(refused, RequestError)
    assert (refused.code.name, refused.message) == (
        "UNAVAILABLE",
        "The batch scheduling queue to which this task was submitted is full",
    )


def test_what_is_too_late_is_not_run(doubler):
    runner = begin()
    doubler.may_run.clear()
    with futures.ThreadPoolExecutor(2) as pool:
        holding = pool.submit(runner.run, doubler.used, "double", x([0]), None)
        wait_for(lambda: runner._running == 1 and holding.running(), "the first batch")
        late = pool.submit(runner.run, doubler.used, "double", x([1]), time.monotonic() + 0.05)
        assert late.exception(30).code.name == "DEADLINE_EXCEEDED"
        doubler.may_run.set()
        holding.result(30)
    assert runner.run(doubler.used, "double", x([5]), time.monotonic() + 30)["y"].tolist() == [[10]]
    assert doubler.sizes == [1, 1]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_what_cannot_be_joined_is_run_alone(doubler, rows):
    inputs = x(*[[1.0]] * rows)
    assert begin(max_batch_size=2).run(doubler.used, "double", inputs, None)["y"].shape == (rows, 1)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=12), st.integers(4, 9))
def test_every_request_gets_its_own_rows(requests, largest):
    doubler = Doubler()
    runner = BatchingRunner(BatchingOptions(threads=2, max_batch_size=largest, max_enqueued_batches=99), Metrics())
    with futures.ThreadPoolExecutor(len(requests)) as pool:
        runs = [pool.submit(runner.run, doubler.used, "double", x(*[[v] for v in r]), None) for r in requests]
        answers = [run.result(30)["y"][:, 0].tolist() for run in runs]
    assert (runner._running, runner._queues) == (0, {})
    assert answers == [[2 * value for value in values] for values in requests]
    assert max(doubler.sizes) <= largest


def test_the_parameters_are_read_from_tensorflow_servings_file(tmp_path, caplog):
    path = tmp_path / "batching.config"
    path.write_text(
        "max_batch_size { value: 64 } batch_timeout_micros { value: 0 } max_enqueued_batches { value: 7 } "
        'num_batch_threads { value: 3 } thread_pool_name { value: "own" }'
    )
    assert read_options(path) == BatchingOptions(64, 7, 3, "own")
    path.write_text("")
    assert read_options(path) == read_options(None) == BatchingOptions()
    assert caplog.messages == []
    path.write_text("batch_timeout_micros { value: 1500 }")
    assert read_options(path) == BatchingOptions()
    assert "batch_timeout_micros has no effect" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 3", "is not a BatchingParameters in protobuf's text format; see line 1"),
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1, got 0"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be at least 1"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be at least 0"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 8", "allowed_batch_sizes is not supported"),
        ("pad_variable_length_inputs: true", "pad_variable_length_inputs is not supported"),
    ],
)
def test_parameters_that_cannot_be_followed_are_explained(tmp_path, text, message):
    path = tmp_path / "batching.config"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_options(path)


def test_a_batching_server_gives_every_client_its_own_answer(tmp_path, start_server):
    tiny_retriever.push(tmp_path, 1, flaw="fails_on_long_query")
    parameters = tmp_path / "batching.config"
    parameters.write_text("max_batch_size { value: 16 } num_batch_threads { value: 1 }")
    server = start_server(tmp_path, batching_parameters_file=str(parameters))
    assert server.manager.wait_until_available(60)
    queries = [f"{title} {number}" for number in range(2) for title in tiny_retriever.TITLES]
    model = tiny_retriever.TinyRetriever(version=1, k=10, flaw="none")
    expected = model.serving_default(tf.constant([search_example(query) for query in queries]))["item_ids"].numpy()
    runs = len(queries)
    with Client(server.address, timeout_s=30) as client, futures.ThreadPoolExecutor(24) as pool:
        bad = pool.submit(client.search, "x" * tiny_retriever.LONG_QUERY)
        answers = list(pool.map(client.search, queries))
        with pytest.raises(ServingError, match="short queries only"):
            bad.result()
    assert [[hit.item_id.encode() for hit in hits] for hits in answers] == expected.tolist()
    batches = next(iter(server.predictor.metrics.wrapped_run_count._values.values()))
    assert batches < runs


def test_parameters_without_batching_are_refused(tmp_path, start_server):
    tiny_retriever.push(tmp_path, 1)
    with pytest.raises(InputError, match="with --no-enable-batching"):
        start_server(tmp_path, enable_batching=False, batching_parameters_file="x")

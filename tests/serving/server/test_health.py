import queue
import threading

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from serving.server import grpc_port
from serving.server.health import HealthService

SERVING, NOT_SERVING, UNKNOWN = (
    HealthCheckResponse.SERVING,
    HealthCheckResponse.NOT_SERVING,
    HealthCheckResponse.SERVICE_UNKNOWN,
)


@pytest.fixture
def models():
    return {"shop": True, "fair": False}


@pytest.fixture
def channel(models):
    """A gRPC server whose only request thread is taken for as long as the test runs."""
    health = HealthService(lambda: dict(models))
    server = grpc.server(grpc_port.futures.ThreadPoolExecutor(1))
    done = threading.Event()

    def block(data, context):
        done.wait(30)
        return b""

    blocking = grpc.method_handlers_generic_handler("busy", {"Wait": grpc.unary_unary_rpc_method_handler(block)})
    server.add_generic_rpc_handlers((health.handler(), blocking))
    port = grpc_port.listen(server, "127.0.0.1", 0, None)
    health.start()
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as open_channel:
        waiting = open_channel.unary_unary("/busy/Wait").future(b"")
        yield open_channel
        done.set()
        waiting.result(10)
    assert server.stop(0).wait(10)
    health.stop()


def check(channel, service):
    call = channel.unary_unary("/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString)
    return HealthCheckResponse.FromString(call(HealthCheckRequest(service=service), timeout=10)).status


def test_the_server_serves_when_every_model_does(channel, models):
    assert [check(channel, service) for service in ("shop", "fair", "")] == [SERVING, NOT_SERVING, NOT_SERVING]
    models["fair"] = True
    assert [check(channel, service) for service in ("fair", "")] == [SERVING, SERVING]
    assert check(channel, "tensorflow.serving.PredictionService") == SERVING


def test_an_unknown_name_is_not_found(channel):
    with pytest.raises(grpc.RpcError) as caught:
        check(channel, "bazaar")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_request_that_is_not_one_is_an_invalid_argument(channel):
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff", timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_watcher_is_told_of_every_change_and_takes_no_thread(channel, models):
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch", HealthCheckRequest.SerializeToString)
    calls = [watch(HealthCheckRequest(service="fair"), timeout=30) for _ in range(5)]
    told: list[queue.Queue] = [queue.Queue() for _ in calls]

    def follow(call, heard):
        try:
            for data in call:
                heard.put(HealthCheckResponse.FromString(data).status)
        except grpc.RpcError as error:
            heard.put(error.code())

    for call, heard in zip(calls, told, strict=True):
        threading.Thread(target=follow, args=(call, heard), daemon=True).start()
    for change, expected in ((lambda: None, NOT_SERVING), (lambda: models.update(fair=True), SERVING)):
        change()
        assert [heard.get(timeout=10) for heard in told] == [expected] * 5
    del models["fair"]
    assert [heard.get(timeout=10) for heard in told] == [UNKNOWN] * 5
    calls[0].cancel()
    assert told[0].get(timeout=10) is grpc.StatusCode.CANCELLED
    assert check(channel, "shop") == SERVING


def test_watchers_that_come_and_go_do_not_stop_the_server(channel):
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch", HealthCheckRequest.SerializeToString)
    failed = []

    def come_and_go():
        try:
            for _ in range(40):
                calls = [watch(HealthCheckRequest(service="shop"), timeout=10) for _ in range(4)]
                for call in calls:
                    next(call)
                for call in calls:
                    call.cancel()
        except grpc.RpcError as error:
            failed.append(error.code())

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert check(channel, "shop") == SERVING

"""Following topics of Kafka: of the mock cluster of its client library, and of a real broker in the slow tests."""

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, Producer

from pipeline.follow.follower import Follower, Following
from pipeline.follow.kafka import KafkaTopics
from pipeline.follow.metrics import Metrics
from schema.settings import InputError
from souk_client.redis_user_state import RedisUserState
from tests.pipeline.follow import kafka_broker
from tests.pipeline.follow.test_redis_stream import click, items_of

TOPIC = "clicks"


@pytest.fixture(scope="module")
def mock_cluster() -> Iterator[str]:
    """One broker in the client library: real wire protocol and consumer groups, no disk."""
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused"})
    broker = next(iter(producer.list_topics(timeout=30).brokers.values()))
    yield f"{broker.host}:{broker.port}"
    producer.flush(10)


@pytest.fixture(scope="module")
def real_broker(tmp_path_factory) -> Iterator[str]:
    with kafka_broker.running(tmp_path_factory.mktemp("kafka")) as address:
        yield address


def _send(servers: str, numbers: range, topic: str) -> None:
    producer = Producer({"bootstrap.servers": servers})
    for number in numbers:
        producer.produce(topic, json.dumps(click(number)).encode(), key=b"u")
    producer.produce(topic, b"no event")
    assert producer.flush(60) == 0


def _committed(servers: str, topic: str) -> int:
    from confluent_kafka import TopicPartition

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "g"})
    parts = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    found = consumer.committed([TopicPartition(topic, part) for part in parts], timeout=30)
    consumer.close()
    return sum(max(part.offset, 0) for part in found)


def _die_with_a_batch(servers: str) -> None:
    """A follower takes more than it says it has done, and is gone."""
    dying = KafkaTopics(servers, [TOPIC], "g", {"session.timeout.ms": "6000"}, batch=7)
    deadline = time.monotonic() + 60
    while not dying.poll().lines:
        assert time.monotonic() < deadline
    dying.close()
    assert _committed(servers, TOPIC) == 0


def _follow(servers: str, make_follower: Callable[..., Follower], letters, redis_url: str) -> None:
    """All clicks are there once, and what cannot be read is a dead letter; the first 20 are sent already."""
    topic, deadline = TOPIC, time.monotonic() + 60
    source = KafkaTopics(servers, [topic], "g", {})
    following, stop = Following(source, make_follower(), Metrics(), print), threading.Event()
    running = threading.Thread(target=following.run, args=(stop,))
    running.start()
    try:
        store = RedisUserState(redis_url)
        _send(servers, range(20, 25), topic)
        wanted = {f"i{number}" for number in range(25)}
        while (items_of(store) != wanted or _committed(servers, topic) < 27) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        stop.set()
        running.join()
        source.close()
    assert items_of(store) == wanted
    assert _committed(servers, topic) == 27
    assert letters.reasons == ["not_json"] * 2
    assert following.total.applied == 25


def test_a_topic_of_the_mock_cluster_is_followed(mock_cluster, make_follower, letters, redis_url):
    _send(mock_cluster, range(20), TOPIC)
    _follow(mock_cluster, make_follower, letters, redis_url)


@pytest.mark.slow
def test_a_topic_of_a_real_broker_is_followed_after_a_death(real_broker, make_follower, letters, redis_url):
    _send(real_broker, range(20), TOPIC)
    _die_with_a_batch(real_broker)
    _follow(real_broker, make_follower, letters, redis_url)


def test_settings_that_kafka_does_not_know_are_told():
    with pytest.raises(InputError, match=r"no\.such\.setting"):
        KafkaTopics("localhost:1", [TOPIC], "g", {"no.such.setting": "1"})

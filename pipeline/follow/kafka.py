"""Live events out of topics of Kafka, by a consumer group."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.follow.sources import BATCH_EVENTS, LINGER_S, POLL_S, Batch
from schema.settings import InputError

_ANSWER_S: Final = 10.0


class KafkaTopics:
    """The messages of topics, whose offsets are committed once they are taken.

    Args:
      servers: "host:port" of brokers, with commas between them.
      topics: names.
      group: the consumer group; followers of one group share the partitions.
      settings: further ones of librdkafka, such as `security.protocol`.
      batch: most events of a batch.

    Raises:
      InputError: if a setting is none of librdkafka's, or `confluent-kafka` is not installed.
    """

    def __init__(
        self,
        servers: str,
        topics: Sequence[str],
        group: str,
        settings: Mapping[str, str],
        batch: int = BATCH_EVENTS,
    ) -> None:
        from confluent_kafka import Consumer, KafkaException

        self.name = f"Kafka topic {', '.join(topics)}"
        self._most = batch
        own = {
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
        }
        try:
            self._consumer = Consumer(dict(settings) | own)
        except (KafkaException, ValueError, TypeError) as error:
            raise InputError(f"Kafka's client refuses its settings: {error}") from error
        self._consumer.subscribe(list(topics))

    def poll(self) -> Batch | None:
        """See `Source.poll`.

        Raises:
          InputError: if Kafka refuses for good: an unknown topic, or access that is denied.
        """
        from confluent_kafka import KafkaError, Message

        messages: list[Message] = self._consumer.consume(1, POLL_S)
        until = time.monotonic() + LINGER_S
        while messages and len(messages) < self._most and (left := until - time.monotonic()) > 0:
            messages += self._consumer.consume(self._most - len(messages), left)
        lines, oldest, offsets = [], 0, {}
        for message in messages:
            error = message.error()
            if error is None:
                lines.append(message.value() or b"null")
                moment = message.timestamp()[1]
                oldest = min(oldest or moment, moment)
                offsets[message.topic(), message.partition()] = (message.offset() or 0) + 1
            elif error.fatal() or error.code() in (
                KafkaError.UNKNOWN_TOPIC_OR_PART,
                KafkaError.TOPIC_AUTHORIZATION_FAILED,
                KafkaError.GROUP_AUTHORIZATION_FAILED,
            ):
                raise InputError(f"{self.name} cannot be followed: {error.str()}")
        return Batch(lines, oldest, offsets)

    def done(self, batch: Batch) -> None:
        """See `Source.done`. A partition that went to another follower meanwhile is taken again there."""
        from confluent_kafka import KafkaException, TopicPartition

        if batch.token:
            offsets = [TopicPartition(topic, part, offset) for (topic, part), offset in batch.token.items()]
            try:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException:
                return

    def backlog(self) -> int | None:
        """See `Source.backlog`."""
        from confluent_kafka import KafkaException

        waiting = 0
        try:
            for part in self._consumer.position(self._consumer.assignment()):
                _, end = self._consumer.get_watermark_offsets(part, cached=True)
                if part.offset >= 0 and end >= 0:
                    waiting += max(end - part.offset, 0)
        except KafkaException:
            return None
        return waiting

    def close(self) -> None:
        """See `Source.close`."""
        self._consumer.close()

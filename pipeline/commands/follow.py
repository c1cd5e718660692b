"""`souk follow`: live events into the user states that requests are answered with."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipeline.commands.options import LocalPath
from pipeline.exit_codes import ExitCode
from schema.settings import InputError
from souk_client.user_state_layout import EVENT_STREAM

if TYPE_CHECKING:
    from components.example_gen.config import IngestConfig
    from pipeline.config import PipelineConfig
    from pipeline.follow.events import Format
    from pipeline.follow.sources import Source

DEFAULT_REDIS: Final = "redis://localhost:6379/0"
_SOURCES: Final = ("stdin", "redis", "kafka")
# A batch is some thousand commands in one pipeline.
_STORE_TIMEOUT_S: Final = 10.0
_HOUR_MS: Final = 3_600_000


@click.command(name="follow")
@click.argument("source", type=click.Choice(_SOURCES), required=False)
@click.option(
    "--user-state",
    "url",
    default=DEFAULT_REDIS,
    show_default=True,
    metavar="URL",
    help="The Redis database that keeps the user states.",
)
@click.option(
    "--config",
    "config_name",
    metavar="FILE|NAME",
    help="The pipeline's configuration: its windows, catalog, column names and UBI actions are used.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace one setting of --config. Repeatable."
)
@click.option(
    "--from-run",
    metavar="N|DIR",
    help="Fill an empty store from the user states of run N of --config, or of the folder that `souk ingest` wrote.",
)
@click.option(
    "--profiles-only", is_flag=True, help="With --from-run: take the profiles alone, also into a store that is in use."
)
@click.option(
    "--events-format",
    type=click.Choice(("souk", "ubi")),
    help="How events are written.  [default: as --config says, or as the first ones are]",
)
@click.option("--stream", default=EVENT_STREAM, show_default=True, help="redis: key of the stream.")
@click.option("--redis", "stream_url", metavar="URL", help="redis: where the stream is.  [default: --user-state]")
@click.option("--group", default="souk", show_default=True, help="redis, kafka: the consumer group.")
@click.option("--consumer", help="redis: name of this follower in the group.  [default: the machine's]")
@click.option("--servers", metavar="HOST:PORT,...", help="kafka: the brokers.")
@click.option("--topic", "topics", multiple=True, help="kafka: a topic. Repeatable.")
@click.option(
    "--kafka-set",
    "kafka_settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="kafka: a setting of librdkafka, such as security.protocol=SSL. Repeatable.",
)
@click.option(
    "--dead-letters",
    type=LocalPath(dir_okay=False),
    metavar="FILE",
    help="Where rejected events go.  [default: the stream souk:dead_letters of --user-state]",
)
@click.option(
    "--max-ahead",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Reject events of a time further ahead of the clock of Redis.",
)
@click.option(
    "--join-hours",
    type=click.FloatRange(min=0, min_open=True),
    default=24.0,
    show_default=True,
    help="How long after its last event a request waits for more.",
)
@click.option(
    "--max-user-events",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="Most events kept of a user, the newest.",
)
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address for Prometheus.")
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Port for Prometheus.  [default: none]")
def command(
    source: str | None,
    url: str,
    config_name: str | None,
    overrides: tuple[str, ...],
    from_run: str | None,
    profiles_only: bool,
    events_format: str | None,
    dead_letters: Path | None,
    max_ahead: float,
    join_hours: float,
    max_user_events: int,
    metrics_host: str,
    metrics_port: int | None,
    **where: Any,
) -> None:
    """Keep user states fresh from live events, until they end or Ctrl-C.

    SOURCE is stdin (JSON lines, the default), redis (a stream) or kafka. Events are of Souk's columns or UBI, as for
    ingestion; they may come again and in any order.
    """
    from pipeline import config as pipeline_config

    if (overrides or (from_run or "").isdigit()) and config_name is None:
        raise InputError("--set and the number of a run need --config, which says what they are of.")
    config = None if config_name is None else pipeline_config.load(config_name, overrides)

    from pipeline.output_capture import quiet

    with quiet():
        from components.example_gen.config import WindowConfig
        from pipeline.follow.catalog import KnownItems
        from pipeline.follow.dead_letters import DeadLetterFile, DeadLetterStream
        from pipeline.follow.events import EventReader
        from pipeline.follow.follower import Follower, Following
        from pipeline.follow.metrics import Metrics
        from serving.user_state.redis_writer import UserStateWriter
        from souk_client.redis_user_state import connect, without_secrets

    import redis

    client, shown = connect(url, _STORE_TIMEOUT_S), without_secrets(url)
    windows = (config.ingest.windows if config else WindowConfig()).behavior_windows
    writer = UserStateWriter(client, shown, windows, max_user_events, round(join_hours * _HOUR_MS))
    if from_run is not None:
        folder = _folder(from_run, config, config_name or "")
        try:
            users = _fill(writer, folder, profiles_only)
        except redis.RedisError as error:
            raise InputError(f"No Redis answers at {shown}: {error}. Start one, or give --user-state.") from error
        _say(f"filled {shown} with {users:,} users of {folder}")
        if source is None:
            return
    followed = _source(source or "stdin", url, where)
    follower = Follower(
        EventReader(_format(config, events_format), followed.name),
        writer,
        DeadLetterFile(dead_letters) if dead_letters else DeadLetterStream(client),
        KnownItems(_with_catalog(config), _say),
        round(max_ahead * 1000),
    )
    metrics = Metrics()
    if metrics_port is not None:
        metrics.serve(metrics_host, metrics_port)
    _say(f"following {followed.name} into {shown}")
    try:
        with _stopped_by_signals() as stop:
            following = Following(followed, follower, metrics, _say)
            taken = following.run(stop)
    except redis.RedisError as error:
        raise InputError(f"Redis refuses what `souk follow` asks of it: {error}") from error
    finally:
        followed.close()
    dead = ", ".join(f"{count:,} {reason}" for reason, count in taken.dead.most_common())
    _say(
        f"{taken.lines:,} events came: {taken.applied:,} were new, {taken.duplicates:,} were known or say nothing new, "
        f"{taken.expired:,} are older than the windows, {taken.dead.total():,} are dead letters"
        + (f" ({dead})" if dead else "")
    )
    if following.away:
        _say(
            "Redis was away when this ended, so events that came since then are not taken. A stream and Kafka give "
            "them again; send those of a pipe again."
        )
        raise click.exceptions.Exit(ExitCode.FAILED)


def _folder(from_run: str, config: "PipelineConfig | None", config_name: str) -> Path:
    if not from_run.isdigit() or config is None:
        return Path(from_run)
    from pipeline.runs import history

    data = history.numbered(config, int(from_run), config_name).data
    if data is None:
        raise InputError(f"run {from_run} has not come to an ingestion, so it has no user states")
    return Path(data.uri)


def _fill(writer: Any, folder: Path, profiles_only: bool) -> int:
    from pipeline.follow.fill import states_of

    writer.open()
    return int(writer.fill(states_of(folder, writer.windows, profiles_only)))


def _source(name: str, url: str, where: dict[str, Any]) -> "Source":
    if name == "redis":
        from pipeline.follow.redis_stream import RedisStream
        from souk_client.redis_user_state import connect

        client = connect(where["stream_url"] or url, _STORE_TIMEOUT_S)
        return RedisStream(client, where["stream"], where["group"], where["consumer"] or socket.gethostname())
    if name == "kafka":
        if not where["servers"] or not where["topics"]:
            raise InputError("`souk follow kafka` needs --servers HOST:PORT and at least one --topic.")
        from pipeline.follow.kafka import KafkaTopics

        pairs = [text.partition("=") for text in where["kafka_settings"]]
        for key, equals, _ in pairs:
            if not key or not equals:
                raise InputError(f"--kafka-set {key} is no KEY=VALUE.")
        return KafkaTopics(where["servers"], where["topics"], where["group"], {key: value for key, _, value in pairs})
    from pipeline.follow.sources import StandardInput

    return StandardInput()


def _format(config: "PipelineConfig | None", given: str | None) -> "Format":
    from pipeline.follow.events import Format

    if config is None:
        return Format(kind=given)  # type: ignore[arg-type]
    data = config.ingest.data
    return Format(
        given or data.events_format,  # type: ignore[arg-type]
        data.columns.events,
        data.ubi_actions,
        data.ubi_user,
        config.ingest.max_query_characters,
    )


def _with_catalog(config: "PipelineConfig | None") -> "IngestConfig | None":
    return None if config is None else config.ingest.for_catalog()


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    stop = threading.Event()

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            # Told twice: what is at hand comes again.
            os._exit(130)
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    click.echo(text, err=True)

"""User states in Redis: events followed a second, how late they are, what a read takes, bytes of a user, growth.

    make bench-user_state    or    python -m benchmarks.user_state [--events 300000] [--most-users 1000000]

A real redis-server with Souk's configuration on a Unix socket of this machine, on which follower, producer and readers
run too. The events are searches of a shop with 8 impressions each, 0.8 clicks and 0.25 carts; `actions alone` leaves
the impressions out. `souk follow redis` is a process of its own.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import redis
from rich.console import Console
from rich.table import Table

from components.example_gen.config import WindowConfig
from schema.features import EventType
from serving.user_state.redis_writer import UserStateWriter
from souk_client.redis_user_state import RedisUserState
from souk_client.user_state_layout import ABOUT_KEY, EVENT_STREAM, pack_event, profile_key, user_key
from tests import redis_server
from tests.redis_server import Server

CONF = Path(__file__).resolve().parents[1] / "serving/docker/redis/redis.conf"
SEED, USERS, SHOWN, DAY_MS = 17, 100_000, 8, 86_400_000
WINDOWS = WindowConfig().behavior_windows
QUERIES = ("red shoes", "wireless headphones", "summer dress", "coffee grinder", "running jacket")


def now_ms() -> int:
    """The moment, epoch milliseconds."""
    return time.time_ns() // 1_000_000


def events(count: int, impressions: bool, rng: random.Random) -> Iterator[bytes]:
    """About `count` events of a shop, request by request, as JSON."""
    made = 0
    while made < count:
        user, request, moment = f"user-{rng.randrange(USERS)}", f"{rng.getrandbits(64):016x}", now_ms()
        items = [f"item-{rng.randrange(1_000_000)}" for _ in range(SHOWN)]
        rows: list[tuple[str, str | None, str | None]] = [("search", None, rng.choice(QUERIES))]
        rows += [("impression", item, None) for item in items] if impressions else []
        rows += [("click", item, None) for item in items if rng.random() < 0.1]
        rows += [("add_to_cart", item, None) for item in items if rng.random() < 0.03]
        for kind, item, query in rows:
            row = {"event_id": f"{rng.getrandbits(64):016x}", "timestamp": moment, "request_id": request}
            row |= {"user_id": user, "event_type": kind, "query": query, "item_id": item, "position": None}
            yield json.dumps(row).encode()
        made += len(rows)


def send(client: redis.Redis, batch: list[bytes]) -> None:
    """Puts events into the stream."""
    with client.pipeline(transaction=False) as pipe:
        for event in batch:
            pipe.xadd(EVENT_STREAM, {"event": event})
        pipe.execute()


def start_follower(server: Server) -> "subprocess.Popen[str]":
    """`souk follow redis`, once it follows."""
    command = [sys.executable, "-m", "pipeline.cli", "follow", "redis", "--user-state", server.url]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("following"):
            return process
    raise RuntimeError("souk follow has ended")


def wait_until_followed(client: Any, every: float = 0.02) -> None:
    """Returns when nothing of the stream is left."""
    while True:
        groups = client.xinfo_groups(EVENT_STREAM)
        if groups and groups[0]["lag"] == 0 and groups[0]["pending"] == 0:
            return
        time.sleep(every)


def followed(server: Server, count: int, impressions: bool) -> tuple[float, float]:
    """Events a second that one process follows, and the share of its processor seconds in the wall time."""
    client: Any = redis.Redis.from_url(server.url)
    client.flushall()
    process = start_follower(server)
    try:
        # What it read at its start is no part of it.
        send(client, list(events(100, impressions, random.Random(1))))
        wait_until_followed(client)
        process.send_signal(19)
        written = list(events(count, impressions, random.Random(SEED)))
        for first in range(0, len(written), 5000):
            send(client, written[first : first + 5000])
        spent, began = _processor_seconds(process.pid), time.perf_counter()
        process.send_signal(18)
        wait_until_followed(client)
        seconds = time.perf_counter() - began
        return len(written) / seconds, (_processor_seconds(process.pid) - spent) / seconds
    finally:
        process.send_signal(18)
        process.terminate()
        process.wait(30)


def lag(server: Server, rate: float, seconds: float) -> np.ndarray:
    """Milliseconds from sending a click until it is in the user's state, at so many events a second beside it."""
    store = RedisUserState(server.url, timeout_s=5)
    client: Any = redis.Redis.from_url(server.url)
    client.flushall()
    process = start_follower(server)
    try:
        send(client, list(events(100, True, random.Random(1))))
        wait_until_followed(client)
        written = list(events(round(rate * seconds), True, random.Random(SEED)))
        # Times do not matter here, since nobody asks for these users.
        waiting: deque[tuple[str, float]] = deque()
        lags: list[float] = []
        began, sent, probes = time.perf_counter(), 0, 0
        while sent < len(written) or waiting:
            now = time.perf_counter()
            due = min(round((now - began) * rate), len(written))
            if due > sent:
                send(client, written[sent:due])
                sent = due
            if sent < len(written) and now - began > probes * 0.05:
                user = f"probe-{probes}"
                row = {"event_id": user, "timestamp": now_ms(), "user_id": user, "event_type": "click", "item_id": "i"}
                waiting.append((user, time.perf_counter()))
                send(client, [json.dumps(row).encode()])
                probes += 1
            # They are followed in their order.
            while waiting and store.behavior(waiting[0][0], now_ms() + 1000) is not None:
                lags.append((time.perf_counter() - waiting.popleft()[1]) * 1000)
            time.sleep(0.001)
        return np.array(lags)
    finally:
        process.terminate()
        process.wait(30)


def states(users: int, each: int, rng: random.Random, prefix: str) -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """Users with `each` events over the windows, spread evenly over the lists if they are as many as the caps hold."""
    end = now_ms()
    full = [(one, place) for one in WINDOWS.lists() for place in range(one.cap)]
    for number in range(users):
        chosen = full if each >= len(full) else rng.sample(full, each)
        rows = []
        for one, place in chosen:
            before = one.until_ms + 1000 + place * (one.since_ms - one.until_ms - 10_000) // one.cap
            asked = one.kinds == (EventType.SEARCH,)
            value = f"{QUERIES[place % 5]} {place}" if asked else f"item-{rng.randrange(1_000_000)}"
            name = f"{rng.getrandbits(64):016x}"
            rows.append((end - before, pack_event(one.kinds[0], name, value, with_request=True)))
        yield f"{prefix}-{number}", rows


def reads(server: Server, users: int, prefix: str, count: int) -> tuple[float, float, float]:
    """Milliseconds of a read, p50 and p99, and mean values in its lists."""
    store, rng = RedisUserState(server.url, timeout_s=5), random.Random(3)
    took, values = np.empty(count), 0
    for number in range(count):
        user = f"{prefix}-{rng.randrange(users)}"
        began = time.perf_counter()
        behavior = store.behavior(user)
        took[number] = (time.perf_counter() - began) * 1000
        assert behavior is not None
        values += sum(len(getattr(behavior, one.name)) for one in WINDOWS.lists())
    return float(np.percentile(took, 50)), float(np.percentile(took, 99)), values / count


def redis_benchmark(server: Server, count: int, size: int) -> tuple[float, float]:
    """Milliseconds of `redis-benchmark`'s GET of `size` bytes by one connection, p50 and p99."""
    arguments = ("-s", f"{server.folder}/s", "-t", "set,get", "-c", 1, "-n", count, "-d", size, "--csv")
    told = subprocess.run(
        server.programs.command("redis-benchmark", *arguments),
        env=server.programs.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    head, *rows = [line.replace('"', "").split(",") for line in told.splitlines()]
    row = dict(zip(head, next(row for row in rows if row[0].startswith("GET")), strict=True))
    return float(row["p50_latency_ms"]), float(row["p99_latency_ms"])


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fill(server: Server, users: int, each: int, prefix: str) -> None:
    client: Any = redis.Redis.from_url(server.url)
    writer = UserStateWriter(client, server.url, WINDOWS, 2000, DAY_MS)
    writer.open()
    fill = states(users, each, random.Random(SEED), prefix)
    while True:
        batch = list(itertools.islice(fill, 500))
        if not batch:
            return
        with client.pipeline(transaction=False) as pipe:
            for user, rows in batch:
                pipe.zadd(user_key(user), {member: at for at, member in rows})
                pipe.hset(profile_key(user), mapping={"age": "30-39", "gender": "f"})
            pipe.execute()


def _grow(server: Server, users: int, prefix: str) -> None:
    """Users with 30 events each: the first 1,000 are made, the others are copies within Redis."""
    made = min(users, 1000)
    _fill(server, made, 30, prefix)
    client: Any = redis.Redis.from_url(server.url)
    for first in range(made, users, 5000):
        with client.pipeline(transaction=False) as pipe:
            for number in range(first, min(first + 5000, users)):
                for key in (user_key, profile_key):
                    pipe.copy(key(f"{prefix}-{number % made}"), key(f"{prefix}-{number}"))
            pipe.execute()


def run(count: int, lag_seconds: float, most_users: int, n_reads: int, console: Console) -> None:
    """Measures, and prints the tables."""
    with redis_server.running(CONF, "--maxmemory", 0) as server:
        client: Any = redis.Redis.from_url(server.url)
        table = Table(title="souk follow redis, one process", title_justify="left")
        for name in ("events", "events/s", "processors used", "events/s of a whole processor"):
            table.add_column(name, justify="right")
        rate = 0.0
        for name, impressions in (("whole pages", True), ("actions alone", False)):
            measured, used = followed(server, count, impressions)
            rate = rate or measured
            table.add_row(name, f"{measured:,.0f}", f"{used:.2f}", f"{measured / used:,.0f}")
        console.print(table)

        late = lag(server, rate / 2, lag_seconds)
        console.print(
            f"lag at {rate / 2:,.0f} events/s, from XADD of a click to a read: p50 {np.percentile(late, 50):.0f} ms, "
            f"p99 {np.percentile(late, 99):.0f} ms, longest {late.max():.0f} ms ({len(late)} clicks)"
        )

        client.flushall()
        _fill(server, 1000, 10**6, "full")
        sizes = [client.memory_usage(user_key(f"full-{n}"), samples=0) for n in range(0, 1000, 20)]
        table = Table(title="Reading a user, one connection over a Unix socket", title_justify="left")
        for name in ("what", "ms p50", "ms p99"):
            table.add_column(name, justify="left" if name == "what" else "right")
        _fill(server, 1000, 30, "usual")
        for prefix in ("usual", "full"):
            p50, p99, values = reads(server, 1000, prefix, n_reads)
            table.add_row(f"RedisUserState.behavior, {values:.0f} values in the lists", f"{p50:.3f}", f"{p99:.3f}")
        for size in (3, int(np.mean(sizes))):
            p50, p99 = redis_benchmark(server, n_reads * 5, size)
            table.add_row(f"redis-benchmark's GET, {size:,} bytes", f"{p50:.3f}", f"{p99:.3f}")
        console.print(table)
        console.print(f"a user at full lists: {np.mean(sizes):,.0f} bytes in Redis")

        table = Table(title="Growth, 30 events a user", title_justify="left")
        for name in ("users", "used memory MB", "bytes a user", "read ms p50", "read ms p99"):
            table.add_column(name, justify="right")
        client.config_set("appendonly", "no")
        users = 10_000
        while users <= most_users:
            client.flushall()
            before = client.info("memory")["used_memory"]
            _grow(server, users, "user")
            used = client.info("memory")["used_memory"] - before
            p50, p99, _ = reads(server, users, "user", n_reads)
            table.add_row(f"{users:,}", f"{used / 1e6:,.0f}", f"{used / users:,.0f}", f"{p50:.3f}", f"{p99:.3f}")
            users *= 10
        console.print(table)
        assert client.exists(ABOUT_KEY)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--lag-seconds", type=float, default=15.0)
    parser.add_argument("--most-users", type=int, default=1_000_000)
    parser.add_argument("--reads", type=int, default=10_000)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} processors with other work, load {os.getloadavg()[0]:.1f} when begun")
    run(arguments.events, arguments.lag_seconds, arguments.most_users, arguments.reads, Console(width=110))


if __name__ == "__main__":
    main()

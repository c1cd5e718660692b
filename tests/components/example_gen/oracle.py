"""What ingestion should give, in plain Python: slow, small, and meant to be obviously right."""

from collections import defaultdict
from dataclasses import dataclass, fields
from typing import Any

from components.example_gen.config import WindowConfig
from components.example_gen.times import TimeSplits

STAGE = {"impression": 1, "click": 2, "add_to_cart": 2, "order": 3}


@dataclass(frozen=True)
class Event:
    event_id: str
    timestamp_ms: int
    request_id: str | None
    user_id: str | None
    event_type: str
    query: str | None
    item_id: str | None
    position: int | None


@dataclass(frozen=True)
class Interaction:
    user_id: str
    timestamp_ms: int
    event_id: str
    event_type: str
    item_id: str


def examples(
    log: list[Event],
    known_items: set[str],
    profiles: dict[str, dict[str, str]],
    windows: WindowConfig,
    splits: TimeSplits,
    max_user_events: int = 100_000,
) -> dict[str, list[dict[str, Any]]]:
    """The examples of both splits, each sorted by (time, request id)."""
    requests, interactions = newest(*join(log, known_items, splits.eval_start), max_user_events)
    found: dict[str, list[dict[str, Any]]] = {"train": [], "eval": []}
    for request in sorted(requests, key=lambda r: (r["timestamp_ms"], r["request_id"])):
        time = request["timestamp_ms"]
        if splits.train_start <= time < splits.end:
            example = request | behavior(request["user_id"], time, requests, interactions, windows)
            for column, value in profiles.get(request["user_id"], {}).items():
                example[f"profile_{column}"] = value
            found["train" if time < splits.eval_start else "eval"].append(example)
    return found


def join(log: list[Event], known_items: set[str], eval_start: int) -> tuple[list[dict[str, Any]], list[Interaction]]:
    copies = defaultdict(list)
    for event in log:
        asked = event.query if event.event_type == "search" else None
        copies[event.event_id, event.request_id, event.event_type, event.item_id, asked].append(event)
    events = sorted(map(_merged, copies.values()), key=lambda e: (e.timestamp_ms, e.event_id))

    heads: dict[str, dict[str, Any]] = {}
    for request_id in {e.request_id for e in events} - {None}:
        mine = [e for e in events if e.request_id == request_id]
        searches = [e for e in mine if e.event_type == "search" and e.query]
        queries = [e.query for e in mine if e.query]
        users = [e.user_id for e in mine if e.user_id is not None]
        if searches:
            first = searches[0]
            user = first.user_id or (users[0] if users else None)
            heads[request_id] = _head(request_id, user, first.timestamp_ms, first.query)
        elif queries:
            heads[request_id] = _head(request_id, users[0] if users else None, mine[0].timestamp_ms, queries[0])

    labels: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    interactions = []
    for event in events:
        if event.event_type == "search" or event.item_id not in known_items:
            continue
        head = heads.get(event.request_id)
        own = head is not None and event.user_id in (None, head["user_id"])
        time = max(event.timestamp_ms, head["timestamp_ms"]) if own else event.timestamp_ms
        if own and not (head["timestamp_ms"] < eval_start <= time):
            label = labels[event.request_id].setdefault(event.item_id, [0, []])
            label[0] = max(label[0], STAGE[event.event_type])
            label[1] += [event.position] if event.position else []
        user = event.user_id or (head["user_id"] if own else None)
        if user and event.event_type != "impression":
            interactions.append(Interaction(user, time, event.event_id, event.event_type, event.item_id))

    for request_id, head in heads.items():
        rows = [(item, stage, min(at, default=0)) for item, (stage, at) in labels[request_id].items()]
        rows.sort(key=lambda row: (row[2] or float("inf"), row[0]))
        head["items"], head["stages"], head["positions"] = ([row[i] for row in rows] for i in range(3))
    return list(heads.values()), interactions


def newest(
    requests: list[dict[str, Any]], interactions: list[Interaction], most: int
) -> tuple[list[dict[str, Any]], list[Interaction]]:
    """Without each user's oldest beyond `most` of both; those of one moment are kept or dropped together."""
    times = defaultdict(list)
    for request in requests:
        times[request["user_id"]].append(request["timestamp_ms"])
    for interaction in interactions:
        times[interaction.user_id].append(interaction.timestamp_ms)
    until = {user: sorted(all_)[-most - 1] for user, all_ in times.items() if user is not None and len(all_) > most}
    return (
        [r for r in requests if r["timestamp_ms"] > until.get(r["user_id"], -1)],
        [i for i in interactions if i.timestamp_ms > until.get(i.user_id, -1)],
    )


def behavior(
    user: str | None, time: int, requests: list[dict[str, Any]], interactions: list[Interaction], windows: WindowConfig
) -> dict[str, list[str]]:
    real = windows.real_time_ms
    short = real + windows.short_term_ms
    long = short + windows.long_term_ms
    asked = [(r["timestamp_ms"], r["request_id"], r["query"]) for r in requests if r["user_id"] == user]
    did = [i for i in interactions if i.user_id == user]

    def window(rows: list[tuple[int, str, str]], since: int, until: int, cap: int) -> list[str]:
        if user is None:
            return []
        newest = sorted((row for row in rows if time - since <= row[0] < time - until), reverse=True)
        return list(dict.fromkeys(value for _, _, value in newest[: windows.scan]))[:cap]

    def items(*types: str) -> list[tuple[int, str, str]]:
        return [(i.timestamp_ms, i.event_id, i.item_id) for i in did if i.event_type in types]

    anything = items("click", "add_to_cart", "order")
    return {
        "history_queries": window(asked, long, 0, windows.history_queries_cap),
        "real_time_items": window(anything, real, 0, windows.real_time_cap),
        "short_term_items": window(anything, short, real, windows.short_term_cap),
        "long_term_clicks": window(items("click"), long, short, windows.long_term_cap),
        "long_term_orders": window(items("order"), long, short, windows.long_term_cap),
        "long_term_carts": window(items("add_to_cart"), long, short, windows.long_term_cap),
    }


def _head(request_id: str, user: str | None, time: int, query: str | None) -> dict[str, Any]:
    return {"request_id": request_id, "user_id": user, "timestamp_ms": time, "query": query}


def _merged(same: list[Event]) -> Event:
    """One event out of its deliveries: each value is the earliest delivery's that has one."""
    deliveries = sorted(same, key=_content)
    values = {
        field.name: next((v for e in deliveries if (v := getattr(e, field.name)) is not None), None)
        for field in fields(Event)
    }
    return Event(**values)


def _content(event: Event) -> tuple[Any, ...]:
    """Orders differing deliveries of one event: column by column, what is missing last."""
    values = (event.timestamp_ms, event.user_id, event.query, event.position)
    return tuple((value is None, value) for value in values)

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen import partition
from components.example_gen.columns import INTERACTIONS, REQUESTS
from components.example_gen.partition import BatchRef, read_newest, read_partition, stable_hash, write_partitions
from tests.components.example_gen import oracle


def _oracle(text: str | None) -> int:
    total = 0
    for index, byte in enumerate((text or "").encode()):
        total += (byte + 1) * pow(0x100000001B3, index, 2**64)
    total %= 2**64
    total ^= total >> 33
    total = total * 0xFF51AFD7ED558CCD % 2**64
    return total ^ (total >> 29)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=20), st.integers(0, 3))
def test_each_text_is_hashed_alone_by_the_written_polynomial(texts: list[str | None], skip: int) -> None:
    texts = [text and text.encode("utf-8", "ignore").decode() for text in texts]
    series = pl.Series(texts, dtype=pl.String)[skip:]
    assert stable_hash(series).tolist() == [_oracle(text) for text in texts[skip:]]


def test_numbered_users_spread_evenly() -> None:
    users = pl.Series([f"u{n:06d}" for n in range(20_000)])
    counts = Counter((stable_hash(users) % np.uint64(16)).tolist())
    assert min(counts.values()) > 1100
    assert max(counts.values()) < 1400


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from(["a", "b", "c", "é", None]), st.integers(0, 99)), max_size=40),
    partitions=st.integers(1, 4),
)
def test_every_row_comes_back_in_its_partition_and_order(tmp_path_factory, rows: list, partitions: int) -> None:
    schema = pl.Schema({"who": pl.String(), "what": pl.Int64()})
    folder: Path = tmp_path_factory.mktemp("spill")
    refs: dict[int, list] = {}
    for part in range(2):
        frame = pl.DataFrame(rows[part::2], schema=schema, orient="row")
        for number, ref in write_partitions(frame, frame["who"], partitions, str(folder / f"{part}.arrow")):
            refs.setdefault(number, []).append(ref)
    back = {number: read_partition(some[::-1], schema).rows() for number, some in refs.items()}
    expected: dict[int, list] = {}
    for row in rows[0::2] + rows[1::2]:
        expected.setdefault(_oracle(row[0]) % partitions, []).append(row)
    assert back == expected
    assert all(ref.rows for some in refs.values() for ref in some)


def test_no_batches_are_no_rows_of_the_schema() -> None:
    schema = pl.Schema({"who": pl.String()})
    assert read_partition([], schema).schema == schema


def _written(rows: pl.DataFrame, folder: Path, files: int) -> list[BatchRef]:
    parts = [(rows[number::files], str(folder / f"{number}.arrow")) for number in range(files)]
    return [ref for part, path in parts for _, ref in write_partitions(part, part["user_id"], 1, path)]


def _requests(rows: list[tuple[str | None, int]]) -> pl.DataFrame:
    lists: dict[str, list] = {"items": [], "stages": [], "positions": []}
    found = [
        {"request_id": f"r{number}", "user_id": user, "timestamp_ms": time, "query": "q"} | lists
        for number, (user, time) in enumerate(rows)
    ]
    return pl.DataFrame(found, schema=REQUESTS)


def _interactions(rows: list[tuple[str, int]]) -> pl.DataFrame:
    found = [(user, time, f"e{number}", 2, "i1") for number, (user, time) in enumerate(rows)]
    return pl.DataFrame(found, schema=INTERACTIONS, orient="row")


# Few moments, so that many rows are of the same one.
_moments = st.integers(0, 8)


@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), _moments), max_size=30),
    done=st.lists(st.tuples(st.sampled_from(["a", "b", "d"]), _moments), max_size=30),
    most=st.integers(1, 12),
    files=st.integers(1, 4),
    at_once=st.integers(1, 20),
)
def test_each_user_keeps_the_newest_events_up_to_the_cap(
    tmp_path_factory, asked: list, done: list, most: int, files: int, at_once: int
) -> None:
    folder: Path = tmp_path_factory.mktemp("cap")
    requests, interactions = _requests(asked), _interactions(done)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "_ROWS_AT_ONCE", at_once)
        kept = read_newest(_written(requests, folder / "r", files), _written(interactions, folder / "i", files), most)
    as_events = [oracle.Interaction(*row[:3], "click", row[4]) for row in interactions.iter_rows()]
    expected = oracle.newest(requests.to_dicts(), as_events, most)
    assert set(kept[0]["request_id"]) == {request["request_id"] for request in expected[0]}
    assert set(kept[1]["event_id"]) == {event.event_id for event in expected[1]}
    rows = Counter(user for user, _ in asked + done if user)
    assert kept[2] == {
        "events.users_over_max_user_events": sum(count > most for count in rows.values()),
        "events.requests_over_max_user_events": len(requests) - len(expected[0]),
        "events.interactions_over_max_user_events": len(interactions) - len(expected[1]),
    }
    assert (kept[0].schema, kept[1].schema) == (REQUESTS, INTERACTIONS)


@pytest.mark.parametrize("events", [2_000, 8_000])
def test_a_robots_dropped_events_are_never_held_together(tmp_path, monkeypatch, events: int) -> None:
    read: list[int] = []
    whole = partition.read_partition

    def watched(refs, schema):
        read.append(sum(ref.rows for ref in refs))
        return whole(refs, schema)

    monkeypatch.setattr(partition, "_ROWS_AT_ONCE", 300)
    monkeypatch.setattr(partition, "read_partition", watched)
    refs = _written(_interactions([("robot", time) for time in range(events)]), tmp_path, events // 100)
    _, kept, counters = read_newest([], refs, 500)
    assert sorted(kept["timestamp_ms"]) == list(range(events - 500, events))
    assert counters["events.interactions_over_max_user_events"] == events - 500
    assert max(read) <= 300

"""A key that is cut into portions gives what it gives as a whole, and no portion holds more than it should."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen.columns import INTERACTIONS, REQUESTS
from components.example_gen.config import IngestConfig, WindowConfig
from components.example_gen.examples import SearchLog, UserLog
from components.example_gen.job import Job
from components.example_gen.partition import Slice, write_partitions
from components.example_gen.portions import Portion, cut_key, user_log
from components.example_gen.splits import Splits
from tests.components.example_gen import columnar, oracle
from tests.components.example_gen.oracle import Event
from tests.components.example_gen.test_search_examples import HOUR, KNOWN, PROFILES, SPLITS, START, WINDOWS, logs

Frames = tuple[pl.DataFrame, pl.DataFrame]


def a_job(folder: Path, windows: WindowConfig, rows_at_once: int, max_user_events: int | None = None) -> Job:
    config = IngestConfig.parse(
        {
            "data": {"events": "e", "catalog": "c"},
            "windows": windows.model_dump(),
            "rows_at_once": rows_at_once,
            "max_user_events": max_user_events,
        }
    )
    return Job(config, str(folder / "out"), str(folder), (), 1, 1)


def portions_of(
    frames: Frames, job: Job, splits: Splits, files: int = 3, counters: Counter[str] | None = None
) -> list[Portion]:
    """The portions of a key whose rows come in some files; adds to `counters`."""
    slices: list[list[Slice]] = []
    for name, rows in zip(("requests", "interactions"), frames, strict=True):
        parts = [rows[n::files] for n in range(files)]
        written = [
            write_partitions(part, pl.Series(["x"] * len(part)), 1, job.scratch(name, f"{n}.arrow"))
            for n, part in enumerate(parts)
        ]
        slices.append([piece for part in written for _, piece in part])
    portions, counted = cut_key(0, *slices, [], splits, job)
    if counters is not None:
        counters.update(counted)
    return portions


def worked(
    portions: list[Portion], job: Job, profiles: pl.DataFrame, counters: Counter[str] | None = None
) -> tuple[dict[str, list[dict]], list[dict]]:
    """The examples of each split, sorted by (time, request id), and the users' states, sorted by user."""
    found: dict[str, list[dict]] = {"train": [], "eval": []}
    states: list[dict] = []
    for portion in portions:
        known, robots = user_log(portion, profiles, job)
        if counters is not None:
            counters.update(robots)
        log = SearchLog(known, ("region",), job.config.windows)
        for split, encoded in log.blocks(portion.splits):
            found[split] += columnar.plain_rows(encoded)
        if portion.states:
            states += log.states(portion.splits.end).to_dicts()
    by_time = {split: sorted(rows, key=lambda r: (r["timestamp_ms"], r["request_id"])) for split, rows in found.items()}
    return by_time, sorted(states, key=lambda state: state["user_id"])


@settings(max_examples=40, deadline=None)
@given(
    log=logs(),
    rows_at_once=st.integers(1, 12),
    scan=st.integers(2, 5),
    max_user_events=st.one_of(st.none(), st.none(), st.integers(1, 20)),
)
def test_a_key_in_portions_gives_the_examples_of_the_plain_oracle(
    log: list[Event], rows_at_once: int, scan: int, max_user_events: int | None
) -> None:
    windows = WINDOWS.model_copy(update={"scan": scan})
    frames = columnar.joined(log, KNOWN, SPLITS, 1)
    profiles = columnar.profile_frame(PROFILES, ("region",))
    counters: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        job = a_job(Path(folder), windows, rows_at_once, max_user_events)
        portions = portions_of(frames, job, SPLITS, counters=counters)
        examples, states = worked(portions, job, profiles, counters)
    asked, did = oracle.join(log, KNOWN, SPLITS.eval_start)
    rows = Counter([*(request["user_id"] for request in asked), *(one.user_id for one in did)])
    robots = {user for user, count in rows.items() if user and count > (max_user_events or 1000)}
    expected = oracle.examples(log, KNOWN, PROFILES, windows, SPLITS)
    assert examples == {
        split: [row for row in of_split if row["user_id"] not in robots] for split, of_split in expected.items()
    }
    whole = SearchLog(UserLog(*frames, profiles), ("region",), windows).states(SPLITS.end)
    assert states == whole.filter(~pl.col("user_id").is_in(list(robots))).sort("user_id").to_dicts()
    assert len({portion.name for portion in portions}) == len(portions)
    assert counters["users.robots"] == len(robots)
    assert counters["requests.of_robots"] == sum(request["user_id"] in robots for request in asked)


def robot(requests: int, interactions: int, seed: int) -> Frames:
    """One user's log, most of it within one burst, with orders that are much rarer than clicks; and some others'."""
    random = np.random.default_rng(seed)

    def times(rows: int) -> np.ndarray:
        burst = random.random(rows) < 0.6
        return START + np.where(burst, 12 * HOUR + random.integers(0, HOUR, rows), random.integers(0, 30 * HOUR, rows))

    def users(rows: int) -> list[str]:
        return ["robot" if draw < 0.9 else f"u{draw:.3f}" for draw in random.random(rows)]

    asked = pl.DataFrame(
        {
            "request_id": [f"r{n}" for n in range(requests)],
            "user_id": users(requests),
            "timestamp_ms": times(requests),
            "query": [f"q{n}" for n in random.integers(0, 50, requests)],
            "items": [[]] * requests,
            "stages": [[]] * requests,
            "positions": [[]] * requests,
        },
        schema=REQUESTS,
    )
    did = pl.DataFrame(
        {
            "user_id": users(interactions),
            "timestamp_ms": times(interactions),
            "event_id": [f"e{n}" for n in range(interactions)],
            "event_type": random.choice([2, 3, 4], interactions, p=[0.97, 0.02, 0.01]),
            "item_id": [f"i{n}" for n in random.integers(0, 300, interactions)],
        },
        schema=INTERACTIONS,
    )
    return asked, did


ROBOT_WINDOWS = WindowConfig(
    real_time_hours=1,
    short_term_days=0.1,
    long_term_days=0.6,
    real_time_cap=10,
    short_term_cap=20,
    long_term_cap=20,
    scan=20,
)


@pytest.fixture(scope="module")
def robots_log() -> Frames:
    return robot(2000, 3000, seed=5)


def test_a_robot_is_worked_in_stretches_to_the_same_examples_as_at_once(robots_log: Frames, tmp_path: Path) -> None:
    profiles = columnar.profile_frame({"robot": {"region": "north"}}, ("region",))
    found = []
    for rows_at_once in (10_000, 300):
        job = a_job(tmp_path / str(rows_at_once), ROBOT_WINDOWS, rows_at_once)
        portions = portions_of(robots_log, job, SPLITS)
        found.append(worked(portions, job, profiles))
    assert len(portions) > 30
    assert found[1] == found[0]
    assert max(len(example["long_term_orders"]) for example in found[0][0]["eval"]) > 3


def test_no_portion_holds_more_however_much_a_user_did(tmp_path: Path) -> None:
    """A user's log that is four times as long has four times as many portions, none of which is larger."""
    rows_at_once = 300
    counts, largest = [], []
    for times in (1, 4):
        job = a_job(tmp_path / str(times), ROBOT_WINDOWS, rows_at_once)
        portions = portions_of(robot(2000 * times, 3000 * times, seed=5), job, SPLITS)
        logs_ = [user_log(portion, columnar.profile_frame({}, ("region",)), job)[0] for portion in portions]
        counts.append(len(portions))
        largest.append(max(len(log.requests) + len(log.interactions) for log in logs_))
    assert counts[1] > 3 * counts[0]
    # The chunks that the three ends of the windows fall into, and what may be looked at before each.
    before = 3 * 4 * ROBOT_WINDOWS.scan + ROBOT_WINDOWS.scan
    assert max(largest) < 3 * 1.3 * rows_at_once + before


def test_many_users_who_each_did_much_are_each_cut(tmp_path: Path) -> None:
    """Though a few rows that are read at once hold hardly one of each of them."""
    users, rows_at_once = 150, 130
    did = robot(0, users * 2 * rows_at_once, seed=6)[1][: users * 140]
    did = did.with_columns(user_id=pl.Series([f"robot {n % users}" for n in range(len(did))]))
    job = a_job(tmp_path, ROBOT_WINDOWS, rows_at_once)
    portions = portions_of((REQUESTS.to_frame(), did), job, SPLITS, files=users)
    assert {portion.users.only for portion in portions} - {None} == set(did["user_id"])
    at_end = [portion for portion in portions if portion.states and portion.users.only]
    held = [sum(piece.rows for stretch in p.interactions for piece in stretch.slices) for p in at_end]
    assert max(held) < 3 * 1.5 * rows_at_once + 4 * ROBOT_WINDOWS.scan


def test_a_key_that_is_not_much_is_worked_as_it_is(robots_log: Frames, tmp_path: Path) -> None:
    job = a_job(tmp_path, ROBOT_WINDOWS, 5000)
    (portion,) = portions_of(robots_log, job, SPLITS)
    assert (portion.name, portion.splits, portion.states) == ("00000", SPLITS, True)
    assert not (tmp_path / "pieces").exists()

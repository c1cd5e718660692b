import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen.config import IngestConfig
from components.example_gen.summary import Tally, check, check_splits
from components.example_gen.times import TimeSpan, TimeSplits
from schema.settings import InputError

spans = st.one_of(st.none(), st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda t: TimeSpan(min(t), max(t))))
tallies = st.builds(
    Tally,
    counters=st.dictionaries(st.sampled_from(["events.read", "users.read"]), st.integers(0, 9)),
    searches=spans,
    events=spans,
    shown=st.dictionaries(
        st.sampled_from(["events.bad_timestamp"]), st.lists(st.sampled_from("abcdef"), max_size=3).map(sorted)
    ),
    errors=st.sampled_from([(), ("one",), ("two",)]),
    actions=st.dictionaries(st.sampled_from(["click", "hover"]), st.integers(0, 9)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(tallies, max_size=6), st.randoms(use_true_random=False))
def test_tallies_add_up_to_the_same_in_any_order(parts: list[Tally], rng: random.Random) -> None:
    total = sum(parts, Tally())
    rng.shuffle(parts)
    middle = len(parts) // 2
    assert sum(parts[:middle], Tally()) + sum(parts[middle:], Tally()) == total
    assert Tally.from_json(total.to_json()) == total


def _config(**limits: float) -> IngestConfig:
    return IngestConfig.parse({"data": {"events": "e", "catalog": "c"}, **limits})


def test_a_share_at_the_limit_passes_and_one_above_fails() -> None:
    tally = Tally({"events.read": 100, "events.dropped.bad_timestamp": 1})
    check(tally, _config(max_bad_fraction=0.01))
    with pytest.raises(InputError, match=r"1 of 100 rows of `events` \(1\.0%\)"):
        check(tally, _config(max_bad_fraction=0.0099))


def test_what_only_repeats_fails_nothing() -> None:
    check(Tally({"catalog.read": 10, "catalog.dropped.duplicate_item": 9}), _config())


def test_what_matches_nothing_has_a_limit_of_its_own() -> None:
    tally = Tally({"events.read": 10, "events.dropped.unknown_item": 4, "events.dropped.request_without_query": 2})
    check(tally, _config(max_unmatched_fraction=0.6))
    with pytest.raises(InputError, match="max_unmatched_fraction"):
        check(tally, _config(max_unmatched_fraction=0.5))


def test_the_message_counts_every_reason_and_cuts_long_rows() -> None:
    tally = Tally(
        {"events.read": 10, "events.dropped.not_json": 3, "events.dropped.bad_timestamp": 5},
        shown={"events.bad_timestamp": ["f: " + "x" * 999], "events.not_json": ["g: y"]},
    )
    with pytest.raises(InputError) as caught:
        check(tally, _config())
    lines = str(caught.value).splitlines()
    assert lines[1].startswith("  5 bad_timestamp: ")
    assert lines[2].startswith("  3 not_json: ")
    assert max(map(len, lines)) < 340


def test_an_unreadable_input_fails_first() -> None:
    with pytest.raises(InputError, match="cut short"):
        check(Tally(errors=("events.gz is cut short",)), _config())


def test_a_log_of_browse_pages_alone_is_told() -> None:
    with pytest.raises(InputError, match=r"`train` would be empty.*; 20 searches have no text"):
        check_splits(Tally({"events.searches_without_text": 20}), TimeSplits(0, 1, 2))

"""Event ids over the whole log, against plain Python."""

from collections import defaultdict

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen.columns import CLICK, EVENTS, SEARCH
from components.example_gen.event_ids import check_ids, drop_delivered_again, event_ids

rows = st.tuples(
    st.sampled_from(["e1", "e2", "e3"]),
    st.sampled_from(["r1", "r2", None]),
    st.sampled_from([SEARCH, CLICK]),
    st.sampled_from(["a", "b"]),
    st.integers(0, 2),
)


def _frame(log: list[tuple]) -> pl.DataFrame:
    found = [
        (id_, 0, request, "u", kind, what if kind == SEARCH else None, what if kind == CLICK else None, None, file)
        for id_, request, kind, what, file in log
    ]
    return pl.DataFrame(found, schema=EVENTS, orient="row")


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, max_size=20))
def test_events_that_share_an_id_are_counted(log: list[tuple]) -> None:
    events = defaultdict(set)
    for id_, request, *deed, _ in log:
        events[id_].add((request, *deed))
    again = {
        (id_, *deed)
        for id_, same in events.items()
        for request, *deed in same
        if request is None and any((other, *deed) in same for other in ("r1", "r2"))
    }
    frame = _frame(log)
    found = check_ids(event_ids(frame))
    assert found.reused == sum(len(same) for same in events.values()) - len(again) - len(events)
    assert bool(found.pairs) == bool(found.reused)
    kept = [row for row in log if not (row[1] is None and (row[0], row[2], row[3]) in again)]
    assert sorted(drop_delivered_again(frame, found.again).rows(), key=str) == sorted(_frame(kept).rows(), key=str)

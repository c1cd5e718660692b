import datetime

import pytest

from pipeline.schedule.backfill import days, survey
from pipeline.schedule.service import ScheduledRun
from schema.settings import InputError

TODAY = datetime.date(2026, 11, 21)


def day(number):
    return datetime.date(2026, 11, number)


def test_days_are_all_from_the_first_to_the_last():
    assert days(day(19), day(21), TODAY) == [day(19), day(20), day(21)]
    assert days(TODAY, TODAY, TODAY) == [TODAY]


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [(21, 20, "the days end on 2026-11-20, before they begin"), (21, 22, "2026-11-22 is yet to come")],
)
def test_days_that_cannot_be_are_refused(first, last, message):
    with pytest.raises(InputError, match=message):
        days(day(first), day(last), TODAY)


def test_a_day_with_no_run_done_or_under_way_is_missing():
    runs = [
        ScheduledRun("a", day(17), "failed"),
        ScheduledRun("b", day(17), "succeeded"),
        ScheduledRun("c", day(18), "failed"),
        ScheduledRun("d", day(18), "failed"),
        ScheduledRun("e", day(19), "running"),
    ]
    found = survey([day(20), day(19), day(18), day(17)], runs)
    assert [(one.date.day, one.state, one.runs) for one in found] == [
        (17, "done", 2),
        (18, "missing", 2),
        (19, "running", 1),
        (20, "missing", 0),
    ]
    assert found[2].running == runs[4]


def test_a_day_before_a_done_one_is_outdated_unless_wanted():
    runs = [ScheduledRun("a", day(20), "succeeded"), ScheduledRun("b", day(18), "running")]
    wanted = [day(18), day(19), day(20), day(21)]
    assert [one.state for one in survey(wanted, runs)] == ["running", "outdated", "done", "missing"]
    assert [one.state for one in survey(wanted, runs, outdated_too=True)] == ["running", "missing", "done", "missing"]

import datetime
import zoneinfo
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.schedule.cron import Cron
from schema.settings import InputError

START = datetime.datetime(2026, 11, 20, 1, 30, tzinfo=datetime.UTC)


def due(text, timezone="UTC", count=3, start=START):
    moments = islice(Cron.parse(text, timezone).after(start), count)
    return [moment.strftime("%Y-%m-%dT%H:%M") for moment in moments]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 2 * * *", ["2026-11-20T02:00", "2026-11-21T02:00", "2026-11-22T02:00"]),
        ("30 1 * * *", ["2026-11-21T01:30", "2026-11-22T01:30", "2026-11-23T01:30"]),
        ("@hourly", ["2026-11-20T02:00", "2026-11-20T03:00", "2026-11-20T04:00"]),
        ("*/40 1-2 * * *", ["2026-11-20T01:40", "2026-11-20T02:00", "2026-11-20T02:40"]),
        ("0 2 * * MON,7", ["2026-11-22T02:00", "2026-11-23T02:00", "2026-11-29T02:00"]),
        ("0 2 * * 5-7", ["2026-11-20T02:00", "2026-11-21T02:00", "2026-11-22T02:00"]),
        ("5-5/15 2 * * *", ["2026-11-20T02:05", "2026-11-21T02:05", "2026-11-22T02:05"]),
        ("0 2 29 feb *", ["2028-02-29T02:00", "2032-02-29T02:00", "2036-02-29T02:00"]),
        # Either of the two, as every cron reads it: the 25th is a Wednesday.
        ("0 2 25 * sun", ["2026-11-22T02:00", "2026-11-25T02:00", "2026-11-29T02:00"]),
    ],
)
def test_an_expression_says_when_runs_are_due(text, expected):
    assert due(text) == expected


@given(
    st.lists(st.integers(0, 59), min_size=1, max_size=3),
    st.lists(st.integers(0, 23), min_size=1, max_size=3),
    st.lists(st.integers(0, 6), min_size=1, max_size=3),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
    st.datetimes(datetime.datetime(2026, 1, 1), datetime.datetime(2027, 1, 1)),
)
@settings(deadline=None, max_examples=10)
def test_due_moments_are_those_found_by_looking_every_minute(minutes, hours, weekdays, timezone, start):
    start = start.replace(tzinfo=datetime.UTC)
    fields = (",".join(map(str, numbers)) for numbers in (minutes, hours, weekdays))
    text = "{} {} * * {}".format(*fields)
    zone = zoneinfo.ZoneInfo(timezone)
    minute = datetime.timedelta(minutes=1)
    moment, seen, expected = start.replace(second=0, microsecond=0), set(), []
    while moment < start + datetime.timedelta(days=8):
        moment += minute
        wall = moment.astimezone(zone)
        fits = wall.minute in minutes and wall.hour in hours and wall.isoweekday() % 7 in weekdays
        if fits and wall.replace(tzinfo=None) not in seen and moment > start:
            seen.add(wall.replace(tzinfo=None))
            # Of a time that comes twice it is the first.
            if not wall.fold:
                expected.append(moment)
    found = list(islice(Cron.parse(text, timezone).after(start), len(expected)))
    assert found == expected


def test_a_time_the_clock_skips_or_repeats_comes_never_or_once():
    berlin = "Europe/Berlin"
    spring = datetime.datetime(2026, 3, 28, 12, tzinfo=datetime.UTC)
    autumn = datetime.datetime(2026, 10, 24, 12, tzinfo=datetime.UTC)
    assert due("30 2 * * *", berlin, 2, spring) == ["2026-03-30T00:30", "2026-03-31T00:30"]
    assert due("30 2 * * *", berlin, 2, autumn) == ["2026-10-25T00:30", "2026-10-26T01:30"]


def test_each_backend_gets_it_in_its_own_form():
    cron = Cron.parse("0 2 * jan 6-7", "Europe/Berlin")
    assert cron.for_vertex() == "TZ=Europe/Berlin 0 2 * 1 0,6"
    assert cron.for_kubeflow("Europe/Berlin") == "0 0 2 * 1 0,6"
    with pytest.raises(
        InputError, match=r"the time zone is Europe/Berlin and the cluster's is UTC: .*--cluster-timezone"
    ):
        cron.for_kubeflow()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 2 * * *", r"has 6 fields, it must have five: .*; leave out the seconds"),
        ("2 * * *", r"has 4 fields, it must have five: .*, as in '0 2 \* \* \*'$"),
        ("60 2 * * *", r"'60' is no minute .*: it is from 0 to 59$"),
        ("0 2 * * MOO", r"'MOO' is no day of the week .*: it is from 0 to 7 or SUN to SAT"),
        ("0 2 ? * *", r"'\?' is no day of the month"),
        ("0 5-2 * * *", r"'5-2' is no hour .*: the range ends before it begins"),
        ("0 */0 * * *", r"'\*/0' is no hour .*: a step follows \* or a range, and is above 0"),
        ("5/15 * * * *", r"'5/15' is no minute .*: a step follows"),
        ("0 2 30 2 *", r"never comes"),
        ("0 2 */2 * MON", r"by a step of \*, which programs read differently"),
    ],
)
def test_a_wrong_expression_is_refused_with_what_is_wrong(text, message):
    with pytest.raises(InputError, match=message):
        Cron.parse(text)


@pytest.mark.parametrize("timezone", ["Europe/Brelin", "", "../etc/passwd"])
def test_an_unknown_time_zone_is_refused(timezone):
    with pytest.raises(InputError, match=r"there is no time zone .* give an IANA name"):
        Cron.parse("0 2 * * *", timezone)

"""Runs for days that a schedule missed."""

import datetime
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.schedule.plan import Plan
from pipeline.schedule.service import RunState, ScheduledRun, Service
from schema.settings import InputError

DayState = Literal["done", "running", "missing", "outdated"]


@dataclass(frozen=True)
class Day:
    """What there is for a day.

    Attributes:
      date: the day, UTC.
      state: `done` where a run succeeded, `running`, `missing`; `outdated` where it is missing but a later day is done.
      runs: how many there were, failed ones included.
      running: the run that is not over.
    """

    date: datetime.date
    state: DayState
    runs: int = 0
    running: ScheduledRun | None = None


@dataclass(frozen=True)
class BackfillStep:
    """One thing that a backfill did: left a day alone, started its run, or saw it end."""

    date: datetime.date
    what: Literal["done", "outdated", "submitted", "running", "succeeded", "failed"]
    run: str = ""


def days(first: datetime.date, last: datetime.date, today: datetime.date) -> list[datetime.date]:
    """Every day from `first` to `last`.

    Raises:
      InputError: the last is before the first, or is yet to come.
    """
    if last < first:
        raise InputError(f"the days end on {last}, before they begin on {first}; give the earlier one with --from")
    if last > today:
        raise InputError(
            f"{last} is yet to come (it is {today} in UTC): a day's run reads the log up to the start of that day"
        )
    return [first + datetime.timedelta(days=number) for number in range((last - first).days + 1)]


def survey(wanted: Iterable[datetime.date], runs: Sequence[ScheduledRun], outdated_too: bool = False) -> list[Day]:
    """What there is for each day, in their order.

    Args:
      wanted: the days.
      runs: that there are, of any day.
      outdated_too: whether a day is still wanted when a later one is done.
    """
    newest = max((run.day for run in runs if run.state == "succeeded"), default=datetime.date.min)
    found = []
    for date in sorted(wanted):
        mine = [run for run in runs if run.day == date]
        going = next((run for run in mine if run.state == "running"), None)
        state: DayState
        if any(run.state == "succeeded" for run in mine):
            state = "done"
        elif going:
            state = "running"
        else:
            state = "outdated" if date < newest and not outdated_too else "missing"
        found.append(Day(date, state, len(mine), going))
    return found


def backfill(
    service: Service, plan: Plan, surveyed: Sequence[Day], wait: bool, poll_s: float
) -> Iterator[BackfillStep]:
    """Runs the missing days, oldest first.

    Args:
      service: the backend.
      plan: of the schedule.
      surveyed: the days, in their order.
      wait: whether a day's run starts only when the one before has ended; a run compares its model with that of the
        run before, and the last to push is served. It stops at the first that fails.
      poll_s: seconds between two looks at a run.

    Yields:
      What was done, as it is done.
    """
    for day in surveyed:
        if day.state in ("done", "outdated"):
            yield BackfillStep(day.date, "done" if day.state == "done" else "outdated")
            continue
        run = day.running or service.submit(plan, day.date, day.runs + 1)
        yield BackfillStep(day.date, "running" if day.running else "submitted", run.id)
        if wait:
            ended = _end_of(service, run, poll_s)
            yield BackfillStep(day.date, ended, run.id)
            if ended == "failed":
                return


def _end_of(service: Service, run: ScheduledRun, poll_s: float) -> Literal["succeeded", "failed"]:
    state: RunState = "running"
    while state == "running":
        state = service.state_of(run)
        if state == "running":
            time.sleep(poll_s)
    return state

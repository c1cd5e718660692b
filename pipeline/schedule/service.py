"""What a backend can do with schedules and runs, and how a plan is put into force on any of them."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pipeline.schedule.compiled import Json
from pipeline.schedule.plan import Plan
from schema.settings import InputError

State = Literal["active", "paused", "completed"]
RunState = Literal["running", "succeeded", "failed"]
Action = Literal["created", "updated", "unchanged"]


class ServiceError(Exception):
    """The backend cannot be reached, or refused what was asked. The message says which and what it answered."""


@dataclass(frozen=True)
class Entry:
    """A schedule that a backend has.

    Attributes:
      id: the backend's own.
      name: the user's; a backend lets several have the same.
      cron: as the backend writes it.
      state: whether it starts runs.
      fingerprint: of the plan behind it; empty where Souk did not make it.
      next_run: when it starts the next one, UTC; None where it is paused or the backend does not tell.
    """

    id: str
    name: str
    cron: str
    state: State
    fingerprint: str
    next_run: datetime.datetime | None


@dataclass(frozen=True)
class ScheduledRun:
    """A run of a schedule's pipeline, started by the schedule or by a backfill.

    Attributes:
      id: the backend's own.
      day: that the run is for, UTC.
      state: of the run.
    """

    id: str
    day: datetime.date
    state: RunState


class Service(Protocol):
    """A backend. Every method raises ServiceError where the backend does not do it."""

    def entries(self, name: str = "") -> list[Entry]:
        """All schedules, or those of one name."""

    def create(self, plan: Plan, paused: bool) -> Entry:
        """A new schedule."""

    def replace(self, entry: Entry, plan: Plan) -> Entry:
        """Puts a plan in the place of a schedule, which stays active or paused."""

    def pause(self, entry: Entry) -> None:
        """Stops it from starting runs; those that run go on."""

    def resume(self, entry: Entry) -> None:
        """Lets it start runs again."""

    def delete(self, entry: Entry) -> None:
        """Removes it; its runs stay."""

    def request(self, plan: Plan) -> Json:
        """What `create` sends, without what only the backend knows."""

    def runs(self, plan: Plan) -> list[ScheduledRun]:
        """The runs of a plan's schedule and of its backfills, oldest first."""

    def submit(self, plan: Plan, day: datetime.date, attempt: int) -> ScheduledRun:
        """Starts the run for a day, the `attempt`-th, counted from 1."""

    def state_of(self, run: ScheduledRun) -> RunState:
        """What has become of a run."""


def apply(service: Service, plan: Plan, paused: bool = False) -> tuple[Action, Entry]:
    """Makes the backend have exactly one schedule of the plan's name, and that one as planned.

    Applying a plan again changes nothing. What an interrupted change left behind is put right.

    Args:
      service: the backend.
      plan: what is wanted.
      paused: whether a new schedule is created paused; an existing one stays as it is.

    Returns:
      What was done, and the schedule.

    Raises:
      InputError: a schedule of that name was not made by Souk.
      ServiceError: the backend does not do it.
    """
    found = service.entries(plan.name)
    _refuse_foreign(found, plan.name)
    if not found:
        return "created", service.create(plan, paused)
    same = [entry for entry in found if entry.fingerprint == plan.fingerprint and entry.state != "completed"]
    kept = (same or found)[0]
    for entry in found:
        if entry is not kept:
            service.delete(entry)
    if not same:
        return "updated", service.replace(kept, plan)
    if kept.state == "paused" and any(entry.state == "active" for entry in found):
        service.resume(kept)
    return "unchanged" if len(found) == 1 else "updated", service.entries(plan.name)[0]


def named(service: Service, name: str) -> list[Entry]:
    """The schedules of a name, more than one only where something went wrong.

    Raises:
      InputError: there is none; one was not made by Souk.
    """
    found = service.entries(name)
    if not found:
        known = sorted({entry.name for entry in service.entries() if entry.fingerprint})
        others = f"; there are {', '.join(known)}" if known else "; there are none"
        raise InputError(f"there is no schedule {name!r}{others}")
    _refuse_foreign(found, name)
    return found


def _refuse_foreign(entries: Sequence[Entry], name: str) -> None:
    foreign = [entry for entry in entries if not entry.fingerprint]
    if foreign:
        raise InputError(
            f"the schedule {name!r} ({foreign[0].id}) was not made by Souk, which therefore leaves it alone; choose "
            "another --name"
        )

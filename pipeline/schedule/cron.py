"""Cron expressions as people write them, five fields and a time zone, and as the two backends read them.

Only what both backends and the classic cron agree on is let through, so that a schedule never means something else
than what it says.
"""

import datetime
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from schema.settings import InputError

UTC: Final = "UTC"
_ALIASES: Final = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_PART: Final = re.compile(r"(?P<range>\*|[0-9A-Z]+(?:-[0-9A-Z]+)?)(?:/(?P<step>[0-9]+))?")
# 29 February comes within eight years, around 2100 too.
_LONGEST_WAIT_DAYS: Final = 8 * 366


@dataclass(frozen=True)
class Field:
    """One field of an expression.

    Attributes:
      text: as both backends read it.
      values: the numbers that it stands for.
      any: whether it is `*`, alone or with a step.
    """

    text: str
    values: frozenset[int]
    any: bool


@dataclass(frozen=True)
class Cron:
    """When a schedule's runs start, to the minute, by the wall clock of a time zone."""

    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    timezone: str = UTC

    @classmethod
    def parse(cls, text: str, timezone: str = UTC) -> "Cron":
        """An expression of five fields: minute, hour, day of the month, month, day of the week (0 is Sunday).

        Args:
          text: the five fields, each a list of numbers, ranges and steps; or @hourly, @daily, @weekly, @monthly.
          timezone: an IANA name.

        Raises:
          InputError: no such time zone; not five fields; a field out of range; a day that never comes.
        """
        try:
            zoneinfo.ZoneInfo(timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise InputError(
                f"there is no time zone {timezone!r}; give an IANA name such as UTC or Europe/Berlin"
            ) from None
        words = _ALIASES.get(text.strip().lower(), text).upper().split()
        if len(words) != 5:
            more = "; leave out the seconds, which are added where a backend wants them" if len(words) == 6 else ""
            raise InputError(
                f"the cron expression {text!r} has {len(words)} fields, it must have five: minute, hour, day of the "
                f"month, month, day of the week, as in '0 2 * * *'{more}"
            )
        cron = cls(
            _field("minute", words[0], 0, 59),
            _field("hour", words[1], 0, 23),
            _field("day of the month", words[2], 1, 31),
            _field("month", words[3], 1, 12, _MONTHS),
            _field("day of the week", words[4], 0, 7, _WEEKDAYS),
            timezone,
        )
        stepped = any(field.any and field.text != "*" for field in (cron.day, cron.weekday))
        if stepped and "*" not in (cron.day.text, cron.weekday.text):
            raise InputError(
                f"the cron expression {text!r} restricts the day of the month and the day of the week, one of them by "
                "a step of *, which programs read differently; write the days out as a list"
            )
        if next(cron.after(datetime.datetime.now(datetime.UTC)), None) is None:
            raise InputError(f"the cron expression {text!r} never comes: no such day has that month")
        return cron

    def __str__(self) -> str:
        return " ".join(field.text for field in (self.minute, self.hour, self.day, self.month, self.weekday))

    def for_vertex(self) -> str:
        """Five fields after the time zone, as Vertex AI reads them."""
        return f"TZ={self.timezone} {self}"

    def for_kubeflow(self, cluster_timezone: str = UTC) -> str:
        """Six fields, the first for the seconds, as Kubeflow Pipelines reads them.

        Args:
          cluster_timezone: the one time zone of all schedules of that cluster.

        Raises:
          InputError: the expression is meant for another time zone.
        """
        if zoneinfo.ZoneInfo(self.timezone) is not zoneinfo.ZoneInfo(cluster_timezone):
            raise InputError(
                f"the time zone is {self.timezone} and the cluster's is {cluster_timezone}: Kubeflow has one time zone "
                "for all schedules, `cronScheduleTimezone` in the config map pipeline-install-config. Write the "
                "expression in that zone, or say with --cluster-timezone which one the cluster has"
            )
        return f"0 {self}"

    def after(self, moment: datetime.datetime) -> Iterator[datetime.datetime]:
        """The moments after `moment` at which a run is due, in UTC, soonest first; none where no day fits.

        A wall-clock time that a change of the clock leaves out is left out here; one that comes twice counts once.
        """
        zone = zoneinfo.ZoneInfo(self.timezone)
        today = moment.astimezone(zone).date()
        idle = 0
        while idle < _LONGEST_WAIT_DAYS:
            idle += 1
            for due in self._on(today, zone) if self._fits(today) else ():
                if due > moment:
                    idle = 0
                    yield due
            today += datetime.timedelta(days=1)

    def _fits(self, date: datetime.date) -> bool:
        if date.month not in self.month.values:
            return False
        by_day, by_weekday = date.day in self.day.values, date.isoweekday() % 7 in self.weekday.values
        # Where both are restricted, either will do: so does every cron.
        if self.day.any or self.weekday.any:
            return by_day and by_weekday
        return by_day or by_weekday

    def _on(self, date: datetime.date, zone: zoneinfo.ZoneInfo) -> Iterator[datetime.datetime]:
        for hour in sorted(self.hour.values):
            for minute in sorted(self.minute.values):
                wall = datetime.datetime.combine(date, datetime.time(hour, minute), zone)
                due = wall.astimezone(datetime.UTC)
                if due.astimezone(zone).replace(fold=0) == wall:
                    yield due


def _field(name: str, text: str, low: int, high: int, names: tuple[str, ...] = ()) -> Field:
    values: set[int] = set()
    plain = True
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise InputError(
                f"{part!r} is no {name} of a cron expression: give a number, a range or a step such as */5"
            )
        ends = [_number(name, end, low, high, names) for end in match["range"].split("-") if end != "*"]
        step = int(match["step"] or 1)
        if match["step"] and (step == 0 or len(ends) == 1):
            raise InputError(f"{part!r} is no {name} of a cron expression: a step follows * or a range, and is above 0")
        first, last = (low, high) if not ends else (ends[0], ends[-1])
        if first > last:
            raise InputError(f"{part!r} is no {name} of a cron expression: the range ends before it begins")
        values.update(range(first, last + 1, step))
        plain = plain and not re.search("[A-Z]", part)
    if name == "day of the week":
        # 7 is Sunday too in the classic cron, but not for the backends.
        plain = plain and (7 not in values or text.startswith("*"))
        values = {value % 7 for value in values if value < 7 or not text.startswith("*")}
    written = text if plain else ",".join(map(str, sorted(values)))
    return Field(written, frozenset(values), text.startswith("*"))


def _number(name: str, text: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text) + low
    if not text.isdigit() or not low <= int(text) <= high:
        also = f" or {names[0]} to {names[-1]}" if names else ""
        raise InputError(f"{text!r} is no {name} of a cron expression: it is from {low} to {high}{also}")
    return int(text)

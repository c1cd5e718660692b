"""Cron expressions as people write them, five fields and a time zone, and as the two backends read them.

Only what both backends and the classic cron agree on is let through, so that a schedule never means something else
than what it says.
"""

import datetime
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from cronsim import CronSim, CronSimError

from schema.settings import InputError

UTC: Final = "UTC"
_ALIASES: Final = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: Final[tuple[tuple[str, int, int, tuple[str, ...]], ...]] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _WEEKDAYS),
)
_PART: Final = re.compile(r"(?P<range>\*|[0-9A-Z]+(?:-[0-9A-Z]+)?)(?:/(?P<step>[0-9]+))?")


@dataclass(frozen=True)
class Cron:
    """When a schedule's runs start, to the minute, by the wall clock of a time zone.

    Attributes:
      text: the five fields as both backends read them.
      timezone: an IANA name.
    """

    text: str
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
        words = [_field(word, *field) for word, field in zip(words, _FIELDS, strict=True)]
        days, weekdays = words[2], words[4]
        stepped = any(word.startswith("*") and word != "*" for word in (days, weekdays))
        if stepped and "*" not in (days, weekdays):
            raise InputError(
                f"the cron expression {text!r} restricts the day of the month and the day of the week, one of them by "
                "a step of *, which programs read differently; write the days out as a list"
            )
        try:
            times = CronSim(" ".join(words), datetime.datetime.min)
        except CronSimError:
            raise InputError(f"the cron expression {text!r} never comes: no such day has that month") from None
        # The backends have names for neither months nor days, as Souk does, and no 7 for Sunday.
        if re.search("[A-Z]", words[3]):
            words[3] = _listed(times.months)
        if re.search("[A-Z7]", weekdays):
            words[4] = _listed({day % 7 for day in cast(set[int], times.weekdays)})
        return cls(" ".join(words), timezone)

    def __str__(self) -> str:
        return self.text

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
        # CronSim moves a time that the clock leaves out to the next hour, unless it reckons without a time zone.
        for wall in CronSim(self.text, moment.astimezone(zone).replace(tzinfo=None, fold=0)):
            due = wall.replace(tzinfo=zone).astimezone(datetime.UTC)
            if due > moment and due.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
                yield due


def _field(text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> str:
    """The field, checked: CronSim lets more through than the backends do."""
    return ",".join(_part(part, name, low, high, names) for part in text.split(","))


def _part(text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> str:
    wrong = f"{text!r} is no {name} of a cron expression: "
    match = _PART.fullmatch(text)
    if match is None:
        raise InputError(f"{wrong}give a number, a range or a step such as */5")
    ends = [_number(name, end, low, high, names) for end in match["range"].split("-") if end != "*"]
    if match["step"] and (int(match["step"]) == 0 or len(ends) == 1):
        raise InputError(f"{wrong}a step follows * or a range, and is above 0")
    if ends != sorted(ends):
        raise InputError(f"{wrong}the range ends before it begins")
    # CronSim reads 5-5/15 as 5-59/15.
    return str(ends[0]) if match["step"] and ends and ends[0] == ends[-1] else text


def _number(name: str, text: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text) + low
    if not text.isdigit() or not low <= int(text) <= high:
        also = f" or {names[0]} to {names[-1]}" if names else ""
        raise InputError(f"{text!r} is no {name} of a cron expression: it is from {low} to {high}{also}")
    return int(text)


def _listed(values: set[int]) -> str:
    return ",".join(map(str, sorted(values)))

"""What a schedule is to be, independent of the backend that keeps it."""

import datetime
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pipeline.parameters import DATA_VERSION, DATE
from pipeline.schedule.compiled import Compiled, Json, Kind
from pipeline.schedule.cron import Cron
from schema.settings import InputError

# What Kubeflow and Vertex put in its place: the moment for which a schedule started a run, RFC 3339 in UTC.
SCHEDULED_TIME: Final = "{{$.pipeline_job_schedule_time_utc}}"
# So that with a day and a number it is still a label and the id of a job.
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True)
class Plan:
    """A schedule as it is wanted.

    Attributes:
      name: of the schedule, and by default of the experiment of its runs.
      cron: when its runs start.
      compiled: the pipeline.
      parameters: that every run is given, but its date.
      experiment: that groups the runs on Kubeflow.
      service_account: that the steps run as; empty for the backend's default.
      catch_up: whether a run is due for every moment that was missed, or only for the last one.
    """

    name: str
    cron: Cron
    compiled: Compiled
    parameters: Mapping[str, str]
    experiment: str
    service_account: str = ""
    catch_up: bool = True

    @property
    def kind(self) -> Kind:
        """Whether it trains or refreshes."""
        return self.compiled.kind

    @property
    def spec(self) -> Json:
        """The pipeline in the form that a schedule runs: dated by the moment for which a run was started.

        A refresh also reads its inputs anew every time, where a repeated run of a day takes them from cache.
        """
        dated = [DATE, DATA_VERSION] if self.kind == "refresh" else [DATE]
        mine = [name for name in dated if name in self.compiled.parameters and name not in self.parameters]
        return self.compiled.bound(dict.fromkeys(mine, SCHEDULED_TIME))

    @property
    def fingerprint(self) -> str:
        """Equal for equal plans: by it a schedule that needs no change is known."""
        parts = [
            *(self.name, str(self.cron), self.cron.timezone, self.experiment, self.service_account, self.catch_up),
            *(self.spec, dict(self.parameters)),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def due(self, count: int = 3) -> list[datetime.datetime]:
        """The next moments at which a run is due, in UTC."""
        return list(islice(self.cron.after(datetime.datetime.now(datetime.UTC)), count))


def plan(
    compiled: Compiled,
    cron: Cron,
    parameters: Iterable[str] = (),
    name: str = "",
    experiment: str = "",
    service_account: str = "",
    catch_up: bool | None = None,
) -> Plan:
    """A checked plan.

    Args:
      compiled: the pipeline.
      cron: when its runs start.
      parameters: `name=value` each.
      name: by default the pipeline's, followed by `-run` or `-refresh`.
      experiment: by default the schedule's name.
      service_account: see `Plan`.
      catch_up: by default yes for a pipeline that trains; of refreshes only the last matters.

    Raises:
      InputError: a name that a backend would refuse; a parameter that the pipeline does not have or that the
        schedule sets itself; a needed one that is not given.
    """
    name = name or default_name(compiled)
    if not _NAME.fullmatch(name):
        raise InputError(
            f"the schedule's name is {name!r}; it has up to 40 small letters, digits and hyphens and begins with a "
            "letter. Give another with --name"
        )
    given = _assignments(parameters)
    if DATE in given:
        raise InputError(f"`{DATE}` cannot be given: every run of a schedule is for the day on which it is due")
    compiled.check(given, without=(DATE,))
    wanted = compiled.kind == "run" if catch_up is None else catch_up
    return Plan(name, cron, compiled, given, experiment or name, service_account, wanted)


def default_name(compiled: Compiled) -> str:
    """The pipeline's name and what it does, so that a shop's two pipelines get two schedules."""
    suffix = f"-{compiled.kind}"
    return compiled.name if compiled.name.endswith(suffix) else compiled.name + suffix


def day_of(text: str) -> datetime.date | None:
    """The day, UTC, that a run's `date` is in; None where it is no date."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment.astimezone(datetime.UTC) if moment.tzinfo else moment).date()


def _assignments(parameters: Iterable[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if not equals or not name:
            raise InputError(f"{parameter!r} is no parameter; write it as name=value, as in -p train='model=mmse'")
        if name in given:
            raise InputError(f"the parameter `{name}` is given twice")
        given[name] = value
    return given

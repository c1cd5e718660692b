"""`souk schedule`: nightly runs and hourly refreshes on Kubeflow Pipelines and Vertex AI."""

import datetime
import json
from typing import TYPE_CHECKING, Any, Final

import click

from pipeline.schedule.options import plan_options, planned, service_of, target_options
from schema.settings import InputError

if TYPE_CHECKING:
    from pipeline.schedule.backfill import Day
    from pipeline.schedule.service import Entry

RUN_FAILED: Final = 1


class SetByDefault(click.Group):
    """A group whose options, given without a subcommand, are those of `set`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `set` before options that stand alone."""
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["set", *args]
        return super().parse_args(ctx, args)


@click.group(name="schedule", cls=SetByDefault)
def command() -> None:
    """Run a compiled pipeline by the clock, on Kubeflow Pipelines or Vertex AI.

    `souk schedule --target vertex --cron "0 2 * * *" --file pipeline.json` is short for `souk schedule set ...`.
    """


_name = click.option("--name", metavar="NAME", required=True, help="Of the schedule.")


@command.command(name="set")
@target_options
@plan_options
@click.option(
    "--cron", required=True, metavar="EXPRESSION", help='Five fields, as in "0 2 * * *" for every night at 2.'
)
@click.option("--timezone", metavar="ZONE", default="UTC", show_default=True, help="Of the expression, an IANA name.")
@click.option("--catch-up/--no-catch-up", default=None, help="Run what was missed.  [default: yes, for a refresh no]")
@click.option("--paused", is_flag=True, help="A new schedule starts no runs before `souk schedule resume`.")
@click.option("--dry-run", is_flag=True, help="Print the request; send nothing.")
def set_command(
    cron: str, timezone: str, catch_up: bool | None, paused: bool, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Create a schedule, or change the one of that name.

    A schedule that is already as wanted is left as it is, so that the command can be part of every deployment.
    """
    from pipeline.schedule import service as services

    plan = planned(options, cron, timezone, catch_up)
    with service_of(options, offline=dry_run) as service:
        request = service.request(plan)
        if dry_run:
            click.echo(json.dumps(request, indent=2, ensure_ascii=False))
            return
        action, entry = services.apply(service, plan, paused)
    due = plan.due() if entry.state == "active" else []
    if as_json:
        click.echo(json.dumps({"action": action, **_plain(entry), "due": [_moment(one) for one in due]}))
        return
    click.echo(f"{action} the schedule {plan.name}, {entry.state}: {entry.cron}\n{entry.id}")
    for one in due:
        click.echo(f"  due {_moment(one)}, for {one.date()}")


@command.command(name="list")
@target_options
def list_command(as_json: bool, **options: Any) -> None:
    """List the schedules that Souk made."""
    with service_of(options) as service:
        entries = [entry for entry in service.entries() if entry.fingerprint]
    if as_json:
        click.echo(json.dumps({"schedules": [_plain(entry) for entry in entries]}))
        return
    if not entries:
        click.echo("There are none; `souk schedule set` makes one.")
        return
    from rich.table import Table

    from pipeline.runs.tables import console

    table = Table("name", "cron", "state", "next run (UTC)", "id")
    for entry in entries:
        table.add_row(entry.name, entry.cron, entry.state, _moment(entry.next_run), entry.id)
    console().print(table)


def _changing(method: str, state: str, help_text: str) -> None:
    """The command that calls `method` of the backend for a schedule that is not in `state` already."""

    @command.command(name=method, help=help_text)
    @target_options
    @_name
    def changing(name: str, as_json: bool, **options: Any) -> None:
        from pipeline.schedule.service import named

        with service_of(options) as service:
            entries = named(service, name)
            for entry in entries:
                if entry.state != state:
                    getattr(service, method)(entry)
        if as_json:
            click.echo(json.dumps({"action": method, "state": state, "ids": [entry.id for entry in entries]}))
        else:
            click.echo(f"the schedule {name} is {state}")


_changing("pause", "paused", "Stop a schedule from starting runs; those that run go on.")
_changing("resume", "active", "Let a paused schedule start runs again.")
_changing("delete", "deleted", "Delete a schedule; its runs stay.")


@command.command(name="backfill")
@target_options
@plan_options
@click.option("--from", "first", metavar="DAY", help="The first day, YYYY-MM-DD.")
@click.option("--to", "last", metavar="DAY", help="The last day.  [default: today in UTC]")
@click.option("--days", type=click.IntRange(min=1), help="In place of --from: this many days, the last one included.")
@click.option("--outdated", is_flag=True, help="Run a missed day also when a later one is done, and push its model.")
@click.option("--no-wait", is_flag=True, help="Start all days' runs at once, and do not wait for them.")
@click.option("--poll", default=30.0, show_default=True, type=click.FloatRange(min=0.01), help="Seconds between looks.")
@click.option("--dry-run", is_flag=True, help="Say what is missing; start nothing.")
@click.pass_context
def backfill_command(
    context: click.Context,
    first: str | None,
    last: str | None,
    days: int | None,
    outdated: bool,
    no_wait: bool,
    poll: float,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run the days that a schedule missed, oldest first.

    A day with a successful run or one that is under way is left alone, so a backfill may be repeated at any time.
    Give the options of the schedule: --file, -p, --name.

    Exit codes: 0 all days have a run, 1 one failed and the days after it were not started, 2 bad input.
    """
    from pipeline.schedule import backfill

    today = datetime.datetime.now(datetime.UTC).date()
    wanted = backfill.days(*_bounds(first, last, days, today), today)
    plan = planned(options, "@daily")
    if plan.kind == "refresh":
        raise InputError("a refresh is not made up for: the next one does all that the missed ones would have done")
    with service_of(options) as service:
        surveyed = backfill.survey(wanted, service.runs(plan), outdated)
        if dry_run:
            _show_days(surveyed, as_json)
            return
        steps = []
        for step in backfill.backfill(service, plan, surveyed, not no_wait, poll):
            steps.append(step)
            click.echo(f"{step.date} {step.what} {step.run}".rstrip(), err=as_json)
    if as_json:
        listed = [{"date": str(step.date), "what": step.what, "run": step.run} for step in steps]
        click.echo(json.dumps({"name": plan.name, "steps": listed}))
    if steps and steps[-1].what == "failed":
        context.exit(RUN_FAILED)


def _bounds(
    first: str | None, last: str | None, days: int | None, today: datetime.date
) -> tuple[datetime.date, datetime.date]:
    if (first is None) == (days is None):
        raise InputError("say which days: --from DAY and maybe --to DAY, or --days N")
    end = _day("--to", last) if last else today
    return (_day("--from", first), end) if first else (end - datetime.timedelta(days=(days or 1) - 1), end)


def _day(option: str, text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} is {text!r}, which is no day; write it as 2026-11-21") from None


def _show_days(surveyed: "list[Day]", as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"days": {str(day.date): day.state for day in surveyed}}))
        return
    for day in surveyed:
        click.echo(f"{day.date} {day.state}")


def _plain(entry: "Entry") -> dict[str, Any]:
    return {
        "id": entry.id,
        "name": entry.name,
        "cron": entry.cron,
        "state": entry.state,
        "plan": entry.fingerprint,
        "next_run": _moment(entry.next_run) or None,
    }


def _moment(moment: datetime.datetime | None) -> str:
    return moment.strftime("%Y-%m-%dT%H:%MZ") if moment else ""

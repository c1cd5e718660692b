"""Schedules on Kubeflow Pipelines: recurring runs, through the `kfp` client."""

import contextlib
import datetime
import functools
import json
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pipeline.parameters import DATE
from pipeline.schedule.compiled import Compiled, Json
from pipeline.schedule.cron import UTC, Cron
from pipeline.schedule.plan import Plan, day_of
from pipeline.schedule.service import Entry, RunState, ScheduledRun, ServiceError

# A bearer token for the server; it is sent and never written anywhere.
TOKEN_VARIABLE: Final = "SOUK_KUBEFLOW_TOKEN"
# The value of the session cookie, where a cluster's own login stands before the server.
COOKIE_VARIABLE: Final = "SOUK_KUBEFLOW_COOKIE"
_MARK: Final = re.compile(r"Made by souk schedule, plan ([0-9a-f]{16})\.")
_PAGE: Final = 100
_STATES: Final[dict[str, RunState]] = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "CANCELED": "failed",
    "SKIPPED": "failed",
}


class Kubeflow:
    """A Kubeflow Pipelines server, version 2.

    Args:
      host: its address; empty for the one that `kubectl` or the pod's own cluster gives.
      namespace: of the user, on a server for many.
      cluster_timezone: the one time zone of the cluster's schedules.
    """

    def __init__(self, host: str, namespace: str = "", cluster_timezone: str = UTC):
        self._host = host
        self._namespace = namespace or None
        self._timezone = cluster_timezone

    @functools.cached_property
    def _client(self) -> Any:
        """The `kfp` client, which asks the server on the spot whether it is one for many users."""
        import kfp
        from kfp.client import set_volume_credentials

        projected = "KF_PIPELINES_SA_TOKEN_PATH" in os.environ
        return kfp.Client(
            host=self._host or None,
            **({"namespace": self._namespace} if self._namespace else {}),
            existing_token=os.environ.get(TOKEN_VARIABLE) or None,
            cookies=os.environ.get(COOKIE_VARIABLE) or None,
            credentials=set_volume_credentials.ServiceAccountTokenVolumeCredentials() if projected else None,
        )

    def entries(self, name: str = "") -> list[Entry]:
        """The recurring runs, oldest first."""
        wanted = _filter(name) if name else None
        found = self._all("list_recurring_runs", "recurring_runs", namespace=self._namespace, filter=wanted)
        return [self._entry(one) for one in found]

    def create(self, plan: Plan, paused: bool) -> Entry:
        """A recurring run of the pipeline itself, which the server need not know."""
        with self._calling(), _package(plan.spec) as package:
            made = self._client.create_recurring_run(
                experiment_id=self._experiment(plan),
                pipeline_package_path=package,
                enabled=not paused,
                **self._settings(plan),
            )
        return self._entry(made)

    def replace(self, entry: Entry, plan: Plan) -> Entry:
        """Recurring runs cannot be changed: a new one takes over.

        In an order in which two are never active, and which `apply` can finish where it was cut off.
        """
        made = self.create(plan, paused=True)
        self.delete(entry)
        if entry.state == "active":
            self.resume(made)
        return self.entries(plan.name)[0]

    def pause(self, entry: Entry) -> None:
        """What comes due meanwhile is caught up with after `resume`, if the plan says so."""
        with self._calling():
            self._client.disable_recurring_run(entry.id)

    def resume(self, entry: Entry) -> None:
        """See `pause`."""
        with self._calling():
            self._client.enable_recurring_run(entry.id)

    def delete(self, entry: Entry) -> None:
        """Its runs stay."""
        with self._calling():
            self._client.delete_recurring_run(entry.id)

    def request(self, plan: Plan) -> Json:
        """The body of POST /apis/v2beta1/recurringruns, without the experiment's id."""
        settings = self._settings(plan)
        return {
            "display_name": settings["job_name"],
            "description": settings["description"],
            "trigger": {"cron_schedule": {"cron": settings["cron_expression"]}},
            "max_concurrency": settings["max_concurrency"],
            "no_catchup": settings["no_catchup"],
            "mode": "ENABLE",
            **({"service_account": plan.service_account} if plan.service_account else {}),
            "runtime_config": {"parameters": settings["params"]},
            "pipeline_spec": plan.spec,
        }

    def runs(self, plan: Plan) -> list[ScheduledRun]:
        """The runs of the plan's pipeline in its experiment, whoever started them."""
        found = self._all("list_runs", "runs", experiment_id=self._experiment(plan), sort_by="created_at")
        dated = [(one, _day(one)) for one in found if _is_of(one, plan)]
        return [ScheduledRun(one.run_id, day, _state(one)) for one, day in dated if day]

    def submit(self, plan: Plan, day: datetime.date, attempt: int) -> ScheduledRun:
        """A run of its own, beside the schedule."""
        with self._calling(), _package(plan.compiled.spec) as package:
            made = self._client.run_pipeline(
                experiment_id=self._experiment(plan),
                job_name=f"{plan.name}-{day}" + (f"-{attempt}" if attempt > 1 else ""),
                pipeline_package_path=package,
                params={**plan.parameters, DATE: str(day)},
                service_account=plan.service_account or None,
            )
        return ScheduledRun(made.run_id, day, "running")

    def state_of(self, run: ScheduledRun) -> RunState:
        """What the server says of it."""
        with self._calling():
            return _state(self._client.get_run(run.id))

    def _settings(self, plan: Plan) -> dict[str, Any]:
        return {
            "job_name": plan.name,
            "description": f"Made by souk schedule, plan {plan.fingerprint}.",
            "cron_expression": plan.cron.for_kubeflow(self._timezone),
            "max_concurrency": 1,
            "no_catchup": not plan.catch_up,
            "params": dict(plan.parameters),
            "service_account": plan.service_account or None,
        }

    def _experiment(self, plan: Plan) -> str:
        with self._calling():
            return str(self._client.create_experiment(plan.experiment, namespace=self._namespace).experiment_id)

    def _all(self, method: str, field: str, **options: Any) -> list[Any]:
        found: list[Any] = []
        token = ""
        with self._calling():
            while True:
                page = getattr(self._client, method)(page_token=token, page_size=_PAGE, **options)
                found += getattr(page, field) or []
                token = page.next_page_token
                if not token:
                    return found

    def _entry(self, one: Any) -> Entry:
        cron = one.trigger.cron_schedule.cron if one.trigger and one.trigger.cron_schedule else ""
        mark = _MARK.search(one.description or "")
        active = one.mode == "ENABLE"
        return Entry(
            id=one.recurring_run_id,
            name=one.display_name,
            cron=cron,
            state="active" if active else "paused",
            fingerprint=mark[1] if mark else "",
            next_run=self._next(cron) if active and mark else None,
        )

    def _next(self, cron: str) -> datetime.datetime | None:
        """The server does not tell."""
        return next(Cron.parse(cron.partition(" ")[2], self._timezone).after(datetime.datetime.now(datetime.UTC)), None)

    @property
    def _where(self) -> str:
        return self._host or "the cluster of kubectl"

    @contextlib.contextmanager
    def _calling(self) -> Iterator[None]:
        """Turns what goes wrong into an error that says so; keeps what the client prints off the results."""
        from kfp_server_api.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        disabled = logging.root.manager.disable
        # The client logs each failed attempt with its stack trace.
        logging.disable(logging.ERROR)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
                warnings.simplefilter("ignore")
                yield
        except ApiException as error:
            hint = f"; a token is read from {TOKEN_VARIABLE}" if error.status in (401, 403) else ""
            raise ServiceError(f"{self._where} answered {error.status}: {_message(error)}{hint}") from None
        except (HTTPError, TimeoutError) as error:
            raise ServiceError(f"Kubeflow Pipelines cannot be reached at {self._where}: {error}") from None
        finally:
            logging.disable(disabled)


@contextlib.contextmanager
def _package(spec: Json) -> Iterator[str]:
    """A pipeline as the file that the client wants: YAML, of which JSON is a part."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        path.write_text(json.dumps(spec), encoding="utf-8")
        yield str(path)


def _filter(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _is_of(run: Any, plan: Plan) -> bool:
    """Whether it is a run of the plan's pipeline, as far as the server tells; it need not say of what a run is."""
    spec = (run.pipeline_spec or {}).get("pipeline_spec", run.pipeline_spec)
    if not spec:
        return True
    found = Compiled(spec, "")
    return (found.name, found.kind) == (plan.compiled.name, plan.kind)


def _day(run: Any) -> datetime.date | None:
    """The day that a run was given, else that of the moment for which the schedule started it."""
    given = ((run.runtime_config and run.runtime_config.parameters) or {}).get(DATE)
    if given:
        return day_of(str(given))
    if run.recurring_run_id and run.scheduled_at:
        return run.scheduled_at.astimezone(datetime.UTC).date()
    return None


def _state(run: Any) -> RunState:
    return _STATES.get(str(run.state), "running")


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)

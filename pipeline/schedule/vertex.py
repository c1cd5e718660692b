"""Schedules on Vertex AI, through the `google-cloud-aiplatform` client."""

import contextlib
import datetime
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pipeline.parameters import DATE
from pipeline.schedule.compiled import Json
from pipeline.schedule.plan import Plan
from pipeline.schedule.service import Entry, RunState, ScheduledRun, ServiceError, State
from schema.settings import InputError

# Labels of schedules' jobs, which every run of them bears.
SCHEDULE: Final = "souk-schedule"
PLAN: Final = "souk-plan"
DAY: Final = "souk-day"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_CHANGED: Final = ("cron", "create_pipeline_job_request", "max_concurrent_run_count", "allow_queueing")
_STATES: Final[dict[str, State]] = {"ACTIVE": "active", "PAUSED": "paused"}
_RUN_STATES: Final[dict[str, RunState]] = {
    "PIPELINE_STATE_SUCCEEDED": "succeeded",
    "PIPELINE_STATE_FAILED": "failed",
    "PIPELINE_STATE_CANCELLED": "failed",
}


class Vertex:
    """The schedules of one project in one region.

    Credentials are those of the environment (`gcloud auth application-default login`, a service account's file, a
    workload's identity).

    Args:
      project: of Google Cloud.
      location: the region.
      endpoint: in place of the region's public one. Nothing secret is sent to one that begins with http://.
      offline: whether nothing is to be sent at all, and so no credentials are needed.

    Raises:
      InputError: there is no such region; there are no credentials.
    """

    def __init__(self, project: str, location: str, endpoint: str = "", offline: bool = False):
        self._parent = f"projects/{project}/locations/{location}"
        self._project, self._location = project, location
        with self._calling():
            import google.auth
            from google.auth.credentials import AnonymousCredentials
            from google.cloud import aiplatform

            self._sdk: Any = aiplatform
            anonymous = offline or endpoint.startswith("http://")
            try:
                aiplatform.init(
                    project=project,
                    location=location,
                    api_endpoint=endpoint or f"{location}-aiplatform.googleapis.com",
                    api_transport="rest",
                    # Always given, since the client keeps those of an earlier call.
                    credentials=AnonymousCredentials() if anonymous else google.auth.default(scopes=[_SCOPE])[0],
                )
            except ValueError as error:
                raise InputError(f"Vertex AI cannot be used with the location {location!r}: {error}") from None

    def entries(self, name: str = "") -> list[Entry]:
        """The schedules of the region, oldest first."""
        wanted = f'display_name="{name}"' if name else None
        with self._calling():
            found = self._sdk.PipelineJobSchedule.list(filter=wanted, order_by="create_time")
            return [_entry(one.gca_resource) for one in found]

    def create(self, plan: Plan, paused: bool) -> Entry:
        """A schedule that is paused is so at once, before its first run can be due."""
        with self._calling(), self._job(plan) as job:
            schedule = self._sdk.PipelineJobSchedule(pipeline_job=job, display_name=plan.name)
            schedule.create(
                cron=plan.cron.for_vertex(),
                allow_queueing=plan.catch_up,
                max_concurrent_run_count=1,
                service_account=plan.service_account or None,
            )
            if paused:
                schedule.pause()
        return self._get(schedule.resource_name)

    def replace(self, entry: Entry, plan: Plan) -> Entry:
        """Changes the schedule itself, unless it is completed, which none can be changed any more."""
        if entry.state == "completed":
            self.delete(entry)
            return self.create(plan, paused=False)
        with self._calling():
            schedule = self._sdk.PipelineJobSchedule.get(entry.id)
            wanted = self._wanted(plan)
            wanted.name = entry.id
            # The client's own `update` leaves out what is run.
            schedule.api_client.update_schedule(schedule=wanted, update_mask={"paths": list(_CHANGED)})
        return self._get(entry.id)

    def pause(self, entry: Entry) -> None:
        """What comes due meanwhile is never run by the schedule; a backfill does it."""
        with self._calling():
            self._sdk.PipelineJobSchedule.get(entry.id).pause()

    def resume(self, entry: Entry) -> None:
        """See `pause`."""
        with self._calling():
            self._sdk.PipelineJobSchedule.get(entry.id).resume(catch_up=False)

    def delete(self, entry: Entry) -> None:
        """Its runs stay."""
        with self._calling():
            self._sdk.PipelineJobSchedule.get(entry.id).delete()

    def request(self, plan: Plan) -> Json:
        """The body of POST /v1/projects/PROJECT/locations/LOCATION/schedules."""
        with self._calling():
            wanted = self._wanted(plan)
        return json.loads(type(wanted).to_json(wanted, including_default_value_fields=False))

    def runs(self, plan: Plan) -> list[ScheduledRun]:
        """The jobs with the schedule's label, whichever schedule or backfill started them."""
        with self._calling():
            found = self._sdk.PipelineJob.list(
                filter=f'labels.{SCHEDULE}="{plan.name}"', order_by="create_time", enable_simple_view=True
            )
            jobs = [one.gca_resource for one in found]
        return [ScheduledRun(job.name, _day(job), _run_state(job)) for job in jobs]

    def submit(self, plan: Plan, day: datetime.date, attempt: int) -> ScheduledRun:
        """A job of its own, beside the schedule. Its id is the day's, so that no two can be started at once."""
        number = f"-{attempt}" if attempt > 1 else ""
        with self._calling(), self._job(plan, day) as job:
            from google.cloud import aiplatform_v1

            made = job.api_client.create_pipeline_job(
                parent=self._parent,
                pipeline_job=aiplatform_v1.PipelineJob(
                    display_name=f"{plan.name}-{day}{number}",
                    pipeline_spec=job.pipeline_spec,
                    runtime_config=job.runtime_config,
                    labels={SCHEDULE: plan.name, DAY: str(day)},
                    service_account=plan.service_account,
                ),
                pipeline_job_id=f"{plan.name}-{day}{number}",
            )
        return ScheduledRun(made.name, day, "running")

    def state_of(self, run: ScheduledRun) -> RunState:
        """What the service says of it."""
        with self._calling():
            return _run_state(self._sdk.PipelineJob.get(run.id).gca_resource)

    def _get(self, name: str) -> Entry:
        with self._calling():
            return _entry(self._sdk.PipelineJobSchedule.get(name).gca_resource)

    def _wanted(self, plan: Plan) -> Any:
        from google.cloud import aiplatform_v1

        with self._job(plan) as job:
            return aiplatform_v1.Schedule(
                display_name=plan.name,
                cron=plan.cron.for_vertex(),
                max_concurrent_run_count=1,
                allow_queueing=plan.catch_up,
                create_pipeline_job_request={
                    "parent": self._parent,
                    "pipeline_job": {
                        "pipeline_spec": job.pipeline_spec,
                        "runtime_config": job.runtime_config,
                        "labels": _labels(plan),
                        "service_account": plan.service_account,
                    },
                },
            )

    @contextlib.contextmanager
    def _job(self, plan: Plan, day: datetime.date | None = None) -> Iterator[Any]:
        """What is run: for a day, or as the schedule runs it."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pipeline.json"
            path.write_text(json.dumps(plan.compiled.spec if day else plan.spec), encoding="utf-8")
            yield self._sdk.PipelineJob(
                display_name=plan.name,
                template_path=str(path),
                parameter_values={**plan.parameters, **({DATE: str(day)} if day else {})},
                labels=_labels(plan),
                project=self._project,
                location=self._location,
            )

    @contextlib.contextmanager
    def _calling(self) -> Iterator[None]:
        """Turns what goes wrong into an error that says so; keeps what the client logs off the screen."""
        disabled = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from google.api_core.exceptions import GoogleAPICallError, RetryError
                from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
                from requests.exceptions import RequestException

                try:
                    yield
                except DefaultCredentialsError:
                    raise InputError(
                        "there are no credentials for Google Cloud; `gcloud auth application-default login` gives you "
                        "some, GOOGLE_APPLICATION_CREDENTIALS names a service account's file"
                    ) from None
                except GoogleAPICallError as error:
                    raise ServiceError(f"Vertex AI answered {error.code}: {error.message}") from None
                except (RequestException, GoogleAuthError, RetryError) as error:
                    raise ServiceError(f"Vertex AI cannot be reached in {self._location}: {error}") from None
        finally:
            logging.disable(disabled)


def _labels(plan: Plan) -> dict[str, str]:
    return {SCHEDULE: plan.name, PLAN: plan.fingerprint}


def _entry(resource: Any) -> Entry:
    job = resource.create_pipeline_job_request.pipeline_job
    state = _STATES.get(resource.state.name, "completed")
    return Entry(
        id=resource.name,
        name=resource.display_name,
        cron=resource.cron,
        state=state,
        fingerprint=job.labels.get(PLAN, ""),
        next_run=resource.next_run_time if state == "active" else None,
    )


def _day(job: Any) -> datetime.date:
    """The day that a backfill gave it, else the day on which the schedule started it."""
    given = job.labels.get(DAY)
    if given:
        return datetime.date.fromisoformat(given)
    return job.create_time.astimezone(datetime.UTC).date()


def _run_state(job: Any) -> RunState:
    return _RUN_STATES.get(job.state.name, "running")

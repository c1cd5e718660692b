"""Vertex AI as far as schedules and pipeline jobs go: its REST API, v1, by the API's own messages."""

import datetime
import json
import re
from dataclasses import dataclass, field

from google.cloud import aiplatform_v1
from google.protobuf import json_format

from pipeline.schedule.cron import Cron
from schema.settings import InputError
from tests.pipeline.schedule.backend import Backend, Json, RefusedError, Request, route
from tests.pipeline.schedule.driver import check_parameters

_PARENT = "(projects/[^/]+/locations/[^/]+)"
_CRON = re.compile(r"(?:(?:CRON_)?TZ=(?P<timezone>\S+) )?(?P<cron>.+)")
_OUTPUT_ONLY = ("state", "createTime", "updateTime", "nextRunTime", "startedRunCount", "lastPauseTime", "catchUp")
_CODES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 409: "ALREADY_EXISTS"}
_UPDATABLE = {"cron", "createPipelineJobRequest", "maxConcurrentRunCount", "allowQueueing", "displayName"}


@dataclass
class VertexBackend(Backend):
    """Keeps schedules and jobs, by name, as the API gives them."""

    schedules: dict[str, Json] = field(default_factory=dict)
    jobs: dict[str, Json] = field(default_factory=dict)

    def error(self, refused: RefusedError) -> Json:
        return {"error": {"code": refused.code, "message": str(refused), "status": _CODES[refused.code]}}

    def start_due(self, name: str, moment: datetime.datetime, state: str = "PIPELINE_STATE_SUCCEEDED") -> Json:
        """What the service does when a schedule is due."""
        schedule = self.schedules[name]
        assert schedule["state"] == "ACTIVE"
        job = schedule["createPipelineJobRequest"]["pipelineJob"]
        parent = schedule["createPipelineJobRequest"]["parent"]
        return self._keep_job({**job, "state": state, "createTime": _rfc3339(moment)}, parent, f"{self.number}-due")

    @route("POST", f"/v1/{_PARENT}/schedules")
    def create_schedule(self, request: Request, parent: str) -> Json:
        wanted = _checked_schedule(request.body, parent)
        now = datetime.datetime.now(datetime.UTC)
        made = {**wanted, "name": f"{parent}/schedules/{self.next_number()}", "createTime": _rfc3339(now)}
        made |= {"state": "ACTIVE", "nextRunTime": _next(made["cron"])}
        return self.schedules.setdefault(made["name"], made)

    @route("GET", f"/v1/{_PARENT}/schedules")
    def list_schedules(self, request: Request, parent: str) -> Json:
        found = [one for one in self.schedules.values() if one["name"].startswith(parent)]
        if "filter" in request.query:
            [name] = re.fullmatch(r'display_name="([^"]*)"', request.query["filter"]).groups()
            found = [one for one in found if one["displayName"] == name]
        return self.paged(found, "schedules", request.query, "pageToken", "nextPageToken")

    @route("GET", f"/v1/({_PARENT}/schedules/[0-9]+)")
    def get_schedule(self, request: Request, name: str, parent: str) -> Json:
        return _get(self.schedules, name)

    @route("PATCH", f"/v1/({_PARENT}/schedules/[0-9]+)")
    def update_schedule(self, request: Request, name: str, parent: str) -> Json:
        kept = _get(self.schedules, name)
        if kept["state"] == "COMPLETED":
            raise RefusedError(400, "a completed schedule cannot be updated")
        mask = set(request.query["updateMask"].split(","))
        if not mask <= _UPDATABLE:
            raise RefusedError(400, f"cannot be updated: {mask - _UPDATABLE}")
        # What the mask names and the body leaves out is at its default.
        wanted = _checked_schedule({**{key: kept[key] for key in kept if key not in mask}, **request.body}, parent)
        for changed in mask:
            kept.pop(changed, None)
        kept |= {key: wanted[key] for key in mask & set(wanted)}
        kept["nextRunTime"] = _next(kept["cron"])
        return kept

    @route("POST", f"/v1/({_PARENT}/schedules/[0-9]+):(pause|resume)")
    def switch(self, request: Request, name: str, parent: str, action: str) -> Json:
        kept = _get(self.schedules, name)
        if kept["state"] != {"pause": "ACTIVE", "resume": "PAUSED"}[action]:
            raise RefusedError(400, f"the schedule is {kept['state']}")
        kept["state"] = {"pause": "PAUSED", "resume": "ACTIVE"}[action]
        kept["catchUp"] = bool((request.body or {}).get("catchUp", False))
        return {}

    @route("DELETE", f"/v1/({_PARENT}/schedules/[0-9]+)")
    def delete_schedule(self, request: Request, name: str, parent: str) -> Json:
        del _get(self.schedules, name)["name"]
        del self.schedules[name]
        done = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        return {"name": f"{parent}/operations/{self.next_number()}", "done": True, "response": done}

    @route("POST", f"/v1/{_PARENT}/pipelineJobs")
    def create_job(self, request: Request, parent: str) -> Json:
        job = _checked_job(request.body)
        return self._keep_job({**job, "state": "PIPELINE_STATE_PENDING"}, parent, request.query["pipelineJobId"])

    @route("GET", f"/v1/{_PARENT}/pipelineJobs")
    def list_jobs(self, request: Request, parent: str) -> Json:
        label, value = re.fullmatch(r'labels\.([a-z-]+)="([^"]*)"', request.query["filter"]).groups()
        found = [job for job in self.jobs.values() if job.get("labels", {}).get(label) == value]
        seen = {path.split(".")[0] for path in request.query["readMask"].split(",")} - {"pipelineSpec"}
        simple = [{key: value for key, value in job.items() if key in seen} for job in found]
        return self.paged(simple, "pipelineJobs", request.query, "pageToken", "nextPageToken")

    @route("GET", f"/v1/({_PARENT}/pipelineJobs/[^/]+)")
    def get_job(self, request: Request, name: str, parent: str) -> Json:
        return _get(self.jobs, name)

    def _keep_job(self, job: Json, parent: str, id: str) -> Json:
        name = f"{parent}/pipelineJobs/{id}"
        if name in self.jobs:
            raise RefusedError(409, f"{name} already exists")
        self.next_number()
        now = _rfc3339(datetime.datetime.now(datetime.UTC))
        return self.jobs.setdefault(name, {"createTime": now, **job, "name": name})


def _checked_schedule(body: Json, parent: str) -> Json:
    wanted = _parsed(aiplatform_v1.Schedule, {key: body[key] for key in body if key not in _OUTPUT_ONLY})
    for required in ("displayName", "cron", "maxConcurrentRunCount", "createPipelineJobRequest"):
        if not wanted.get(required):
            raise RefusedError(400, f"Required field is not set: schedule.{required}")
    if wanted["createPipelineJobRequest"]["parent"] != parent:
        raise RefusedError(400, "the job's parent is not the schedule's")
    _next(wanted["cron"])
    _checked_job(wanted["createPipelineJobRequest"]["pipelineJob"])
    return wanted


def _checked_job(body: Json) -> Json:
    job = _parsed(aiplatform_v1.PipelineJob, body)
    if not job["runtimeConfig"].get("gcsOutputDirectory", "").startswith("gs://"):
        raise RefusedError(400, "runtime_config.gcs_output_directory is no path in Cloud Storage")
    check_parameters(job["pipelineSpec"], job["runtimeConfig"].get("parameterValues", {}))
    for key, value in job.get("labels", {}).items():
        if not re.fullmatch("[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch("[a-z0-9_-]{0,63}", value):
            raise RefusedError(400, f"no label: {key}={value}")
    return job


def _parsed(message: type, body: Json) -> Json:
    """The body as the API's message holds it: what the message does not know is refused."""
    try:
        parsed = message.from_json(json.dumps(body))
    except json_format.ParseError as error:
        raise RefusedError(400, f"Invalid JSON payload received. {error}") from None
    return json_format.MessageToDict(message.pb(parsed))


def _next(cron: str) -> str:
    parts = _CRON.fullmatch(cron)
    try:
        parsed = Cron.parse(parts["cron"], parts["timezone"] or "UTC")
    except InputError as error:
        raise RefusedError(400, f"Invalid cron: {error}") from None
    return _rfc3339(next(parsed.after(datetime.datetime.now(datetime.UTC))))


def _get(kept: dict[str, Json], name: str) -> Json:
    if name not in kept:
        raise RefusedError(404, f"{name} is not found")
    return kept[name]


def _rfc3339(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

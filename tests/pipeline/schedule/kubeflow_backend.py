"""A Kubeflow Pipelines server as far as schedules and runs go: its REST API, v2beta1, and its scheduler."""

import datetime
import json
from dataclasses import dataclass, field

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.schedule.cron import Cron
from schema.settings import InputError
from tests.pipeline.schedule.backend import Backend, Json, RefusedError, Request, route
from tests.pipeline.schedule.driver import check_parameters

_API = "/apis/v2beta1"
_RECURRING = {
    "display_name": str,
    "description": str,
    "pipeline_spec": dict,
    "runtime_config": dict,
    "service_account": str,
    "max_concurrency": int,
    "trigger": dict,
    "mode": str,
    "no_catchup": bool,
    "namespace": str,
    "experiment_id": str,
}
_RUN = {key: _RECURRING[key] for key in ("display_name", "pipeline_spec", "runtime_config", "service_account")}
_RUN["experiment_id"] = str


@dataclass
class KubeflowBackend(Backend):
    """Keeps experiments, recurring runs and runs.

    Attributes:
      token: that a request must bear, if any.
      recurring_runs: by id, as the API gives them.
      runs: by id, as the API gives them.
      outcomes: by display name, how a run has ended when it is looked at for the second time.
    """

    token: str = ""
    experiments: dict[str, Json] = field(default_factory=dict)
    recurring_runs: dict[str, Json] = field(default_factory=dict)
    runs: dict[str, Json] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)

    def error(self, refused: RefusedError) -> Json:
        return {"error": str(refused), "code": refused.code, "message": str(refused), "details": []}

    def start_due(self, recurring_run_id: str, moment: datetime.datetime, state: str = "SUCCEEDED") -> Json:
        """What the scheduler does when a recurring run is due: a run of what is embedded in it."""
        recurring = self.recurring_runs[recurring_run_id]
        assert recurring["mode"] == "ENABLE"
        run = {
            key: recurring[key] for key in ("experiment_id", "pipeline_spec", "runtime_config", "recurring_run_id")
        } | {"scheduled_at": _rfc3339(moment), "state": state, "display_name": f"swf-{self.number}"}
        return self._keep_run(run)

    @route("GET", _API + "/healthz")
    def healthz(self, request: Request) -> Json:
        self._authorize(request)
        return {"multi_user": False}

    @route("GET", _API + "/experiments")
    def list_experiments(self, request: Request) -> Json:
        return self._listed(request, self.experiments, "experiments")

    @route("POST", _API + "/experiments")
    def create_experiment(self, request: Request) -> Json:
        self._authorize(request)
        name = request.body["display_name"]
        if any(one["display_name"] == name for one in self.experiments.values()):
            raise RefusedError(409, f"Already exist error: experiment {name}")
        made = {**request.body, "experiment_id": f"experiment-{self.next_number()}"}
        return self.experiments.setdefault(made["experiment_id"], made)

    @route("GET", _API + "/recurringruns")
    def list_recurring_runs(self, request: Request) -> Json:
        return self._listed(request, self.recurring_runs, "recurringRuns")

    @route("POST", _API + "/recurringruns")
    def create_recurring_run(self, request: Request) -> Json:
        self._authorize(request)
        body = self._checked(request.body, _RECURRING)
        if not 1 <= body.get("max_concurrency", 0) <= 10:
            raise RefusedError(400, "Invalid input error: The max concurrency must be between 1 and 10")
        cron = body["trigger"]["cron_schedule"]["cron"]
        seconds, _, rest = cron.partition(" ")
        try:
            parsed = Cron.parse(rest)
        except InputError as error:
            raise RefusedError(400, f"Invalid input error: Schedule cron is not supported: {error}") from None
        if not seconds.isdigit() or str(parsed) != rest:
            raise RefusedError(400, f"Invalid input error: Schedule cron is not supported: {cron}")
        if body.get("mode") not in ("ENABLE", "DISABLE"):
            raise RefusedError(400, "Invalid input error: a recurring run has a mode")
        now = _rfc3339(datetime.datetime.now(datetime.UTC))
        made = {**body, "recurring_run_id": f"recurring-{self.next_number()}", "created_at": now, "updated_at": now}
        made["status"] = f"{body['mode']}D"
        return self.recurring_runs.setdefault(made["recurring_run_id"], made)

    @route("POST", _API + r"/recurringruns/([^/:]+):(enable|disable)")
    def switch(self, request: Request, name: str, mode: str) -> Json:
        self._get(self.recurring_runs, name)["mode"] = mode.upper()
        return {}

    @route("DELETE", _API + r"/recurringruns/([^/:]+)")
    def delete_recurring_run(self, request: Request, name: str) -> Json:
        self._get(self.recurring_runs, name)
        del self.recurring_runs[name]
        return {}

    @route("GET", _API + "/runs")
    def list_runs(self, request: Request) -> Json:
        mine = {id: run for id, run in self.runs.items() if run["experiment_id"] == request.query["experiment_id"]}
        return self._listed(request, mine, "runs")

    @route("POST", _API + "/runs")
    def create_run(self, request: Request) -> Json:
        self._authorize(request)
        return self._keep_run({**self._checked(request.body, _RUN), "state": "PENDING"})

    @route("GET", _API + r"/runs/([^/:]+)")
    def get_run(self, request: Request, name: str) -> Json:
        run = self._get(self.runs, name)
        seen = dict(run)
        run["state"] = self.outcomes.get(run["display_name"], run["state"])
        return seen

    def _keep_run(self, values: Json) -> Json:
        made = {**values, "run_id": f"run-{self.next_number()}", "storage_state": "AVAILABLE"}
        return self.runs.setdefault(made["run_id"], made)

    def _authorize(self, request: Request) -> None:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            raise RefusedError(401, "Request not authenticated")

    def _get(self, kept: dict[str, Json], name: str) -> Json:
        if name not in kept:
            raise RefusedError(404, f"Not found error: {name} not found")
        return kept[name]

    def _checked(self, body: Json, fields: dict[str, type]) -> Json:
        for name, value in body.items():
            if name not in fields:
                raise RefusedError(400, f'proto: (line 1:2): unknown field "{name}"')
            if not isinstance(value, fields[name]):
                raise RefusedError(400, f"proto: (line 1:2): invalid value for {name}: {value!r}")
        if not body.get("display_name"):
            raise RefusedError(400, "Invalid input error: the display name is empty")
        self._get(self.experiments, body["experiment_id"])
        try:
            json_format.ParseDict(body["pipeline_spec"], pipeline_spec_pb2.PipelineSpec())
        except json_format.ParseError as error:
            raise RefusedError(400, f"Invalid input error: unknown template format: {error}") from None
        check_parameters(body["pipeline_spec"], body["runtime_config"].get("parameters", {}))
        return body

    def _listed(self, request: Request, kept: dict[str, Json], field_name: str) -> Json:
        self._authorize(request)
        predicates = json.loads(request.query.get("filter") or "{}").get("predicates", [])
        found = list(kept.values())
        for predicate in predicates:
            assert predicate["operation"] in (1, "EQUALS")
            found = [one for one in found if one[predicate["key"]] == predicate["stringValue"]]
        return self.paged(found, field_name, request.query, "page_token", "next_page_token")


def _rfc3339(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

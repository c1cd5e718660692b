"""Asks one candidate, in the real serving program, and judges its answers."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from components.canary import traffic
from components.canary.config import CanaryConfig
from components.canary.interview import Interview
from components.canary.result import CanaryResult
from components.canary.server_process import MODEL_NAME, ServerProcess, StartupError, log_tail, serve_candidate
from schema import features
from serving.client import Client, ServingError

# What IndexBuilder writes of the servable, beside its SavedModel.
_CARD = Path("assets.extra") / "souk.json"
_INDEXED_ITEMS = "indexed_items"

_ENCODED_ITEMS = 4
_ANY_QUERY = b"shoes"


@dataclass(frozen=True)
class Traffic:
    """Everything that is sent, and the ids that may come back."""

    questions: list[traffic.Question]
    edges: list[traffic.Question]
    items: list[bytes]
    known: frozenset[bytes]


def probe(servable: Path, examples_uri: str, config: CanaryConfig) -> CanaryResult:
    """Serves the SavedModel in `servable` and asks it; what is wrong with it is in the result, not raised.

    Args:
      servable: local folder of the candidate's SavedModel.
      examples_uri: of the Examples artifact; its eval split gives requests, its catalog split the known ids.
      config: how much is asked, and how fast the answers must be.
    """
    sent = _traffic(examples_uri, config)
    for split, content in ((features.EVAL_SPLIT, sent.questions), (features.CATALOG_SPLIT, sent.known)):
        if not content:
            return CanaryResult(failures=(f"the {split} split of {examples_uri} is empty: nothing to ask with",))
    load_seconds = None
    interview = Interview(sent.known, min(len(sent.known), indexed_items(servable) or len(sent.known)))
    with tempfile.TemporaryDirectory(prefix="souk-canary-log-") as folder:
        log = Path(folder) / "server.log"
        try:
            with serve_candidate(servable, log, config.startup_timeout_s) as server:
                load_seconds = server.load_seconds
                _hold(interview, server, sent, config)
        except StartupError as error:
            interview.fail(str(error))
        server_log = log_tail(log) if interview.failures else ""
    return CanaryResult(
        failures=tuple(interview.failures),
        load_seconds=load_seconds,
        places=interview.places,
        latency=interview.latency,
        edge_latency_ms=interview.edge_latency_ms,
        server_log=server_log,
    )


def indexed_items(servable: Path) -> int | None:
    """How many items the candidate says that its index holds; None if it does not say."""
    try:
        card = json.loads((servable / _CARD).read_text())
    except (OSError, ValueError):
        return None
    count = card.get(_INDEXED_ITEMS) if isinstance(card, dict) else None
    return count if isinstance(count, int) and count > 0 else None


def _traffic(examples_uri: str, config: CanaryConfig) -> Traffic:
    questions = traffic.eval_questions(examples_uri, config.requests, config.seed)
    queries = (traffic.query_of(question.example) for question in questions)
    return Traffic(
        questions=questions,
        edges=traffic.edge_questions(next(filter(None, queries), _ANY_QUERY)),
        items=traffic.catalogue_examples(examples_uri, _ENCODED_ITEMS),
        known=traffic.catalogue_ids(examples_uri),
    )


def _hold(interview: Interview, server: ServerProcess, sent: Traffic, config: CanaryConfig) -> None:
    steps = (
        lambda client: interview.ask_signatures(client),
        lambda client: interview.ask_singly(client, sent.questions, config.p99_limit_ms),
        lambda client: interview.ask_edges(client, sent.edges),
        lambda client: interview.ask_together(client, sent.questions[: config.batch_size]),
        lambda client: interview.ask_text(client, traffic.query_of(sent.questions[0].example)),
        lambda client: interview.ask_encoders(client, sent.questions[0].example, sent.items),
    )
    with Client(server.address, model_name=MODEL_NAME, timeout_s=config.request_timeout_s) as client:
        for step in steps:
            try:
                step(client)
            except (ServingError, ValueError) as error:
                interview.fail(str(error))
            if server.exit_code is not None:
                interview.fail(f"the serving program ended with code {server.exit_code} while it was asked")
                return

"""Asks one candidate, in the real serving program, and judges its answers."""

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from components.canary import slowdown, traffic
from components.canary.config import CanaryConfig
from components.canary.external_server import serve_candidate_with
from components.canary.interview import Interview
from components.canary.result import CanaryResult
from components.canary.server_process import MODEL_NAME, LoadError, ServerProcess, log_tail, serve_candidate
from schema import features
from schema.artifacts import CARD_FILE
from schema.servable_files import saved_models, shard_of
from schema.settings import InputError
from souk_client.answers import Searcher, ServingError
from souk_client.client import Client
from souk_client.protocol import shard_models
from souk_client.sharded_client import ShardedClient

# What IndexBuilder writes of the servable, beside its SavedModel.
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


def probe(servable: Path, examples_uri: str, config: CanaryConfig, catalog_uri: str = "") -> CanaryResult:
    """Serves the servable in `servable` and asks it; what is wrong with it is in the result, not raised.

    Of one in shards, every shard is asked by itself, and then all of them as a client asks them, which is what must be
    fast enough.

    Args:
      servable: local folder of the candidate.
      examples_uri: of the Examples artifact; its eval split gives requests, its catalog split the known ids.
      config: how much is asked, and how fast the answers must be.
      catalog_uri: of the Examples artifact whose catalog split counts, if not that of `examples_uri`.

    Raises:
      StartError: if the serving program does not come to load the candidate.
      InputError: if the program of `server_command` cannot be started.
    """
    catalog_uri = catalog_uri or examples_uri
    sent = _traffic(examples_uri, catalog_uri, config)
    for split, uri, content in (
        (features.EVAL_SPLIT, examples_uri, sent.questions),
        (features.CATALOG_SPLIT, catalog_uri, sent.known),
    ):
        if not content:
            return CanaryResult(failures=(f"the {split} split of {uri} is empty: nothing to ask with",))
    try:
        folders = [Path(folder) for folder in saved_models(str(servable))]
    except InputError as error:
        return CanaryResult(failures=(str(error),))
    startup_seconds = load_seconds = None
    whole, *shards = _interviews(folders, sent.known, config.attempts)
    with tempfile.TemporaryDirectory(prefix="souk-canary-log-") as folder:
        log = Path(folder) / "server.log"
        try:
            with _served(folders, log, config) as server:
                startup_seconds, load_seconds = server.startup_seconds, server.load_seconds
                _hold(whole, shards, server, sent, config)
        except LoadError as error:
            whole.fail(str(error))
        failures = [
            *whole.failures,
            *(f"shard {n} of {len(shards)}: {failure}" for n, shard in enumerate(shards) for failure in shard.failures),
        ]
        server_log = log_tail(log) if failures else ""
    return CanaryResult(
        server=config.server,
        failures=tuple(failures),
        startup_seconds=startup_seconds,
        load_seconds=load_seconds,
        places=whole.places,
        latency=whole.latency,
        attempts=whole.attempts,
        allowed_p99_ms=whole.allowed_p99_ms,
        slowdown=whole.slowdown,
        edge_latency_ms=whole.edge_latency_ms,
        server_log=server_log,
    )


def _served(folders: Sequence[Path], log: Path, config: CanaryConfig) -> AbstractContextManager[ServerProcess]:
    if config.server_command is None:
        return serve_candidate(folders, log, config)
    return serve_candidate_with(config.server_command, folders, log, config)


def indexed_items(servable: Path) -> int | None:
    """How many items the candidate says that its index holds; None if it does not say."""
    try:
        card = json.loads((servable / CARD_FILE).read_text())
    except (OSError, ValueError):
        return None
    count = card.get(_INDEXED_ITEMS) if isinstance(card, dict) else None
    return count if isinstance(count, int) and count > 0 else None


def deadline_s(config: CanaryConfig, server: ServerProcess) -> float:
    """Seconds that a request may take, on a machine that may have other work."""
    # The slower of both moments counts: a candidate that hangs is found out all the same.
    return config.request_timeout_s * max(server.slowdown, slowdown.measure())


def _interviews(folders: Sequence[Path], known: frozenset[bytes], attempts: int) -> list[Interview]:
    """One for the whole candidate, and one for each of its shards, which may answer with its own items alone."""
    if len(folders) == 1:
        return [Interview(known, min(len(known), indexed_items(folders[0]) or len(known)), attempts)]
    ids = np.array(sorted(known))
    owner = shard_of(ids, len(folders))
    shards = []
    searchable = 0
    for shard, folder in enumerate(folders):
        own = frozenset(ids[owner == shard].tolist())
        count = min(len(own), indexed_items(folder) or len(own))
        searchable += count
        shards.append(Interview(own, count, attempts))
    return [Interview(known, searchable, attempts), *shards]


def _traffic(examples_uri: str, catalog_uri: str, config: CanaryConfig) -> Traffic:
    questions = traffic.eval_questions(examples_uri, config.requests, config.seed)
    queries = (traffic.query_of(question.example) for question in questions)
    return Traffic(
        questions=questions,
        edges=traffic.edge_questions(next(filter(None, queries), _ANY_QUERY)),
        items=traffic.catalog_examples(catalog_uri, _ENCODED_ITEMS),
        known=traffic.catalog_ids(catalog_uri),
    )


def _hold(
    whole: Interview, shards: Sequence[Interview], server: ServerProcess, sent: Traffic, config: CanaryConfig
) -> None:
    names = shard_models(MODEL_NAME, max(1, len(shards)))
    timeout_s = deadline_s(config, server)
    for name, address, interview in zip(names, server.addresses, shards or [whole], strict=True):
        limit = None if shards else config.p99_limit_ms
        with Client(address, model_name=name, timeout_s=timeout_s) as client:
            encoders = (
                partial(interview.ask_signatures, client),
                partial(interview.ask_encoders, client, sent.questions[0].example, sent.items),
            )
            if not _ask(interview, server, [*encoders, *_searches(interview, client, sent, config, limit)]):
                return
    if shards:
        with ShardedClient(
            server.addresses, shards=len(shards), model_name=MODEL_NAME, timeout_s=timeout_s
        ) as together:
            _ask(whole, server, _searches(whole, together, sent, config, config.p99_limit_ms))


def _searches(
    interview: Interview, client: Searcher, sent: Traffic, config: CanaryConfig, p99_limit_ms: float | None
) -> list[Callable[[], None]]:
    return [
        partial(interview.ask_singly, client, sent.questions, p99_limit_ms),
        partial(interview.ask_edges, client, sent.edges),
        partial(interview.ask_together, client, sent.questions[: config.batch_size]),
        partial(interview.ask_text, client, traffic.query_of(sent.questions[0].example)),
    ]


def _ask(interview: Interview, server: ServerProcess, steps: Sequence[Callable[[], None]]) -> bool:
    """Takes the steps; whether the serving program is there after them."""
    for step in steps:
        try:
            step()
        except (ServingError, ValueError) as error:
            interview.fail(str(error))
        if server.exit_code is not None:
            interview.fail(f"the serving program ended with code {server.exit_code} while it was asked")
            return False
    return True

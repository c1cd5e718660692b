"""What the page asks of the playground, as plain values in and out; HTTP is `server`'s."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from schema import features
from schema.settings import InputError
from serving.playground.catalog import CatalogReader, Item, ItemCatalog
from serving.playground.comparison import compare
from serving.playground.filter_check import check_filters
from serving.playground.models import Models
from serving.playground.search_request import Click, SearchRequest, Side, example_of
from serving.playground.users import Users
from souk_client.client import Answer, ServingError
from souk_client.errors import UserStateError
from souk_client.examples import Behavior

if TYPE_CHECKING:
    from serving.playground.live_users import LiveUsers

SUGGESTIONS: Final = 20
_COUNTED: Final = {"brand": "brands", "category": "categories"}
# Titles are worth a short wait; a large catalog is read in the background, and the page says so.
_CATALOG_WAIT_S: Final = 3.0


@dataclass(frozen=True)
class SideAnswer:
    """One side's answer, or the sentence that says why there is none; `latency_ms` is the round trip to the server."""

    side: Side
    answer: Answer | None
    latency_ms: float
    error: str | None = None


class Playground:
    """The served models with what is known of the shop beside them."""

    def __init__(self, models: Models, catalog: CatalogReader, users: "Users | LiveUsers") -> None:
        self._models = models
        self._catalog = catalog
        self._users = users

    def models(self) -> dict[str, Any]:
        """The models with their versions, and what is known of the shop."""
        return {
            "models": self._models.describe(),
            "catalog": self._catalog.state(),
            "users": self._users.count() if self._users.known else None,
            # Whether the states change as events come, so that a click can be sent and seen.
            "live": self._users.live,
        }

    def users(self, text: str) -> dict[str, Any]:
        """Users whose id holds `text`."""
        return {"users": self._users.find(text, SUGGESTIONS)}

    def queries(self) -> dict[str, Any]:
        """Queries that users of this shop type."""
        return {"queries": self._users.frequent_queries(8)}

    def values(self, field: str, text: str) -> dict[str, Any]:
        """Values of `field`, brand or category, that hold `text`, with the items of each; those that begin so first.

        Raises:
          InputError: if the field is another one, or the catalog cannot be read.
        """
        if field not in _COUNTED:
            raise InputError(f"Values are suggested for {' and '.join(_COUNTED)}, not for {field!r}.")
        catalog = self._catalog.get(_CATALOG_WAIT_S)
        counted: Sequence[tuple[str, int]] = () if catalog is None else getattr(catalog, _COUNTED[field])
        wanted = text.strip().lower()
        found = [(value, count) for value, count in counted if wanted in value.lower()]
        found.sort(key=lambda entry: not entry[0].lower().startswith(wanted))
        return {"values": [{"value": value, "items": count} for value, count in found[:SUGGESTIONS]]}

    def user(self, user: str) -> dict[str, Any]:
        """What is known of a user: profile, queries, and the items with what the catalog says of them."""
        behavior = self._users.behavior(user)
        if behavior is None:
            return {"user": user, "known": False, "profile": {}, "queries": [], "items": {}}
        lists = {name: getattr(behavior, name) for name in features.BEHAVIOR_ITEM_FEATURES}
        details = self._details([item_id for ids in lists.values() for item_id in ids])
        return {
            "user": user,
            "known": True,
            "profile": dict(behavior.profile),
            "queries": list(behavior.history_queries),
            "items": {name: [_shown(item_id, details) for item_id in ids] for name, ids in lists.items()},
        }

    def click(self, click: Click) -> dict[str, Any]:
        """Sends a click of a user on an item to where `souk follow` reads, and gives the event's id.

        Raises:
          InputError: if the user states are not live, or the click cannot be sent.
        """
        return {"event_id": self._users.click(click.user, click.item_id)}

    def search(self, request: SearchRequest) -> dict[str, Any]:
        """Each side's answer, one asked after the other so that neither slows the other; differences if there are two.

        Raises:
          InputError: if the query is empty, a model is not among those that may be asked, or a file cannot be read.
        """
        behavior, away = None, None
        try:
            behavior = self._users.behavior(request.user) if request.user else None
        except UserStateError as error:
            away = f"{error}. The answer is not personalized."
        answered = [self._ask(request, side, behavior) for side in request.sides]
        hits = [[] if one.answer is None else one.answer.hits for one in answered]
        details = self._details([hit.item_id for found in hits for hit in found])
        found: dict[str, Any] = {
            "user_known": behavior is not None if request.user and away is None else None,
            "user_state_error": away,
            "catalog": self._catalog.state(),
            "sides": [_side(request, one, details) for one in answered],
            "comparison": None,
        }
        if len(answered) == 2 and all(one.answer is not None for one in answered):
            comparison = compare(hits[0], hits[1], request.k)
            for side, ranks in zip(found["sides"], comparison.other_ranks, strict=True):
                for hit, rank in zip(side["hits"], ranks, strict=True):
                    hit["other_rank"] = rank
            counts = ("shown", "shared", "same_rank")
            found["comparison"] = {name: getattr(comparison, name) for name in counts}
        return found

    def close(self) -> None:
        """Ends the connections."""
        self._models.close()

    def _ask(self, request: SearchRequest, side: Side, behavior: Behavior | None) -> SideAnswer:
        example = example_of(request, side, behavior)
        try:
            client = self._models.client(side.model, side.version)
            answers, latency_ms = _timed(lambda: client.answer_examples([example]))
        except ServingError as error:
            return SideAnswer(side, None, 0.0, str(error))
        return SideAnswer(side, answers[0], latency_ms)

    def _details(self, item_ids: Sequence[str]) -> dict[str, Item]:
        if self._catalog.state()["state"] == "failed":
            # The page says so; hits without titles are better than none.
            return {}
        catalog: ItemCatalog | None = self._catalog.get(_CATALOG_WAIT_S)
        return {} if catalog is None else catalog.items(item_ids)


def _side(request: SearchRequest, one: SideAnswer, details: dict[str, Item]) -> dict[str, Any]:
    version = None if one.side.version is None else str(one.side.version)
    found: dict[str, Any] = {"model": one.side.model, "version": version, "error": one.error, "hits": []}
    answer = one.answer
    if answer is None:
        return found
    return found | {
        "answered_by": str(answer.model_version),
        "latency_ms": round(one.latency_ms, 2),
        "places": answer.places,
        "found": len(answer.hits),
        "relevance_control": answer.relevance_control,
        "filters": [asdict(check) for check in check_filters(request.filters, answer.hits, details)],
        "hits": [
            # JSON has no NaN and no infinity.
            {
                "rank": hit.rank,
                "score": hit.score if math.isfinite(hit.score) else None,
                **_shown(hit.item_id, details),
            }
            for hit in answer.hits[: request.k]
        ],
    }


def _shown(item_id: str, details: dict[str, Item]) -> dict[str, Any]:
    item = details.get(item_id)
    return {"item_id": item_id, "in_catalog": item is not None, **asdict(item or Item())}


def _timed(call: Callable[[], list[Answer]]) -> tuple[list[Answer], float]:
    begin = time.perf_counter()
    result = call()
    return result, (time.perf_counter() - begin) * 1000.0

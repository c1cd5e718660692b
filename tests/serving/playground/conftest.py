"""Playgrounds over the tiny retriever, with a small shop's catalog and users beside it."""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from serving.playground.api import Playground
from serving.playground.catalog import CatalogReader
from serving.playground.models import Models, ServedModel
from serving.playground.server import PlaygroundServer
from serving.playground.users import Users
from tests.serving import tiny_retriever

VERSION = 3
EVIL = "<img src=x onerror=document.title='owned'>"


def item_id(title: str, version: int = VERSION) -> str:
    return f"v{version}-{tiny_retriever.TITLES.index(title)}"


def catalog_rows(version: int = VERSION) -> list[dict[str, Any]]:
    """Brand by color, category by thing, a price that rises with the number; one title is an attack."""
    rows = []
    for number, title in enumerate(tiny_retriever.TITLES):
        color, thing = title.split(" ", 1)
        top = "Clothes" if thing in ("shoes", "shirt", "跑步鞋") else "Home"
        rows.append(
            {
                "item_id": f"v{version}-{number}",
                "title": EVIL if title == "green lamp" else title,
                "brand": color.capitalize() if color != "white" else None,
                "category": [top, thing.capitalize()],
                "shop": f"shop {number % 3}",
                "price": 10.0 + number,
            }
        )
    return rows


@dataclass(frozen=True)
class Shop:
    catalog: Path
    user_state: Path


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    catalog, user_state = folder / "catalog.jsonl", folder / "user_state.parquet"
    catalog.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in catalog_rows()))
    pl.DataFrame(
        {
            "user_id": ["anna", "annabel", "joanna", EVIL],
            "history_queries": [["black lamp", "crème kettle"], [], ["red shoes"], []],
            "real_time_items": [[item_id("black lamp")], [], [], []],
            "long_term_clicks": [[item_id("blue kettle"), item_id("red shirt")], [], ["v3-0"], []],
            "long_term_orders": [[item_id("red shirt"), "gone"], [], [], []],
            "profile_gender": ["f", None, "f", None],
        },
        schema_overrides={"history_queries": pl.List(pl.String), "real_time_items": pl.List(pl.String)},
    ).write_parquet(user_state)
    return Shop(catalog, user_state)


Open = Callable[..., PlaygroundServer]


@pytest.fixture
def open_playground(shop: Shop) -> Iterator[Open]:
    """Starts playgrounds of given (model name, target) pairs, and stops them when the test ends."""
    with ExitStack() as stack:

        def begin(*served: tuple[str, str], host: str = "127.0.0.1", **files: Any) -> PlaygroundServer:
            catalog = files.get("catalog", (shop.catalog,))
            users = files.get("users") or Users(files.get("user_state", shop.user_state))
            models = Models([ServedModel(name, target) for name, target in served], timeout_s=20)
            running = PlaygroundServer(Playground(models, CatalogReader(catalog), users), host, 0)
            running.start()
            stack.callback(running.stop)
            return running

        yield begin


@pytest.fixture
def playground(open_playground: Open, server: Any) -> PlaygroundServer:
    """A playground of the shared server's one model."""
    return open_playground(("souk", server.address))


def send(
    running: PlaygroundServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request; a header's name has `_` for `-`."""
    connection = http.client.HTTPConnection("127.0.0.1", running.server_port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def get(running: PlaygroundServer, path: str) -> dict[str, Any]:
    status, _, body = send(running, "GET", path)
    assert status == 200, body
    return json.loads(body)


def search(running: PlaygroundServer, query: str, expect: int = 200, **request: Any) -> dict[str, Any]:
    """A search of the first model, unless `sides` says otherwise."""
    first = get(running, "/api/models")["models"][0]["key"]
    text = json.dumps({"query": query, "sides": [{"model": first}], **request})
    status, _, body = send(running, "POST", "/api/search", text.encode(), Content_Type="application/json")
    assert status == expect, body
    return json.loads(body)

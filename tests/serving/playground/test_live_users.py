"""Users of a live store, and the clicks that the page sends for them."""

import json
import time

import pytest
import redis

from schema.settings import InputError
from serving.playground.live_users import LiveUsers
from souk_client.user_state_layout import pack_event
from tests.serving.playground.conftest import get, item_id, search, send
from tests.serving.playground.live import following


def _fill(writer) -> None:
    moment = writer.now_ms() - 1000
    click = [(moment, pack_event("click", "e", item_id("black lamp"), with_request=True))]
    writer.fill([("anna", click, {"gender": "f"}), ("annabel", click, {}), ("a*b", click, {})])


def _post(running, path: str, value: object) -> tuple[int, dict]:
    status, _, body = send(running, "POST", path, json.dumps(value).encode(), Content_Type="application/json")
    return status, json.loads(body)


def test_users_are_found_by_a_part_of_their_ids(redis_url):
    with following(redis_url) as writer:
        _fill(writer)
    users = LiveUsers(redis_url)
    assert users.find("anna", 9)[0] == {"user": "anna", "items": 1, "queries": 0}
    assert {found["user"] for found in users.find("anna", 9)} == {"anna", "annabel"}
    assert [found["user"] for found in users.find("*", 9)] == ["a*b"]
    assert len(users.find("", 2)) == 2
    assert users.behavior("anna").profile == {"gender": "f"}


def test_a_click_on_the_page_is_in_the_next_answer(open_playground, server, redis_url):
    running = open_playground(("souk", server.address), users=LiveUsers(redis_url))
    assert get(running, "/api/models")["live"] is True
    liked = item_id("red shirt")
    with following(redis_url):
        before = search(running, "shirt", user="new user")
        assert before["user_known"] is False
        status, answer = _post(running, "/api/click", {"user": "new user", "item_id": liked})
        assert (status, answer["event_id"][:11]) == (200, "playground-")
        deadline = time.monotonic() + 60
        while not get(running, "/api/user?user=new+user")["known"]:
            assert time.monotonic() < deadline
    (item,) = get(running, "/api/user?user=new+user")["items"]["real_time_items"]
    assert item["item_id"] == liked
    after = search(running, "shirt", user="new user")
    assert after["user_known"] is True
    assert after["sides"][0]["hits"] != before["sides"][0]["hits"]


def test_without_redis_the_page_is_answered_and_says_so(open_playground, server):
    running = open_playground(("souk", server.address), users=LiveUsers("redis://127.0.0.1:1/0"))
    answer = search(running, "shirt", user="anna")
    assert answer["user_known"] is None
    assert "cannot be read" in answer["user_state_error"]
    assert answer["sides"][0]["hits"] == search(running, "shirt")["sides"][0]["hits"]
    status, body = _post(running, "/api/click", {"user": "anna", "item_id": "i"})
    assert (status, "could not be sent" in body["error"]) == (400, True)
    status, _, _ = send(running, "GET", "/api/user?user=anna")
    assert status == 400
    status, _, _ = send(running, "GET", "/api/users?text=anna")
    assert status == 400


def test_a_click_needs_a_live_store_a_user_and_an_item(playground, redis_url):
    status, body = _post(playground, "/api/click", {"user": "anna", "item_id": "i"})
    assert (status, "Start the playground with --user-state redis://" in body["error"]) == (400, True)
    assert _post(playground, "/api/click", {"user": "anna"})[0] == 400
    assert send(playground, "GET", "/api/click")[0] == 405
    users = LiveUsers(redis_url)
    for user, item in (("", "i"), ("u", ""), ("u" * 600, "i")):
        with pytest.raises(InputError, match="A click needs the id of"):
            users.click(user, item)
    assert redis.Redis.from_url(redis_url).exists("souk:events") == 0

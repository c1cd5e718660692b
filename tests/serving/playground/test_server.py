import gzip
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from schema.features import RelevanceControl
from schema.settings import InputError
from serving.playground.api import Playground
from serving.playground.catalog import CatalogReader
from serving.playground.models import Models
from serving.playground.server import MAX_BODY_BYTES, PlaygroundServer
from serving.playground.users import Users
from souk_client.client import Client
from tests.serving import tiny_retriever
from tests.serving.playground.conftest import EVIL, get, item_id, search, send
from tests.serving.waiting import wait_for


def raw(playground, request):
    """Status, headers and body of what answers these bytes; the server must close the connection."""
    with socket.create_connection(("127.0.0.1", playground.server_port), timeout=30) as connection:
        connection.sendall(request)
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head.decode(), body


POST = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_a_search_joins_the_clients_answer_with_the_catalog(playground, server):
    answer = search(playground, "blue kettle", k=4)
    with Client(server.address) as client:
        expected = client.answer("blue kettle")
    (side,) = answer["sides"]
    assert [(hit["rank"], hit["item_id"], hit["score"]) for hit in side["hits"]] == [
        (hit.rank, hit.item_id, pytest.approx(hit.score)) for hit in expected.hits[:4]
    ]
    assert side["hits"][0] == {
        "rank": 1,
        "score": pytest.approx(expected.hits[0].score),
        "item_id": item_id("blue kettle"),
        "in_catalog": True,
        "title": "blue kettle",
        "brand": "Blue",
        "category": "Home > Kettle",
        "shop": "shop 2",
        "price": 10.0 + tiny_retriever.TITLES.index("blue kettle"),
        "further": {},
    }
    assert (side["answered_by"], side["found"], side["places"], side["error"]) == ("3", 10, 10, None)
    assert side["latency_ms"] > 0
    assert answer["comparison"] is None
    assert answer["catalog"] == {"state": "ready", "items": len(tiny_retriever.TITLES)}


def test_the_users_behavior_goes_with_the_query(playground, server, shop):
    personal = search(playground, "shirt", user="anna")
    with Client(server.address) as client:
        expected = client.search("shirt", user_id="anna", behavior=Users(shop.user_state).behavior("anna"))
    assert [hit["item_id"] for hit in personal["sides"][0]["hits"]] == [hit.item_id for hit in expected]
    assert personal["user_known"] is True
    assert search(playground, "shirt", user="nobody")["user_known"] is False
    assert search(playground, "shirt")["user_known"] is None


def test_two_sides_are_compared_over_their_whole_answers(playground, server):
    key = f"souk@{server.address}"
    sides = [{"model": key}, {"model": key, "version": "3", "personalized": False}]
    answer = search(playground, "shirt", user="anna", k=5, sides=sides)
    full = [
        [hit["item_id"] for hit in side["hits"]]
        for side in search(playground, "shirt", user="anna", k=10, sides=sides)["sides"]
    ]
    assert full[0] != full[1]
    for side, other in zip(answer["sides"], reversed(full), strict=True):
        for hit in side["hits"]:
            expected = other.index(hit["item_id"]) + 1 if hit["item_id"] in other else None
            assert hit["other_rank"] == expected
    pairs = list(zip(full[0][:5], full[1][:5], strict=True))
    assert answer["comparison"] == {
        "shown": 5,
        "shared": len(set(full[0][:5]) & set(full[1][:5])),
        "same_rank": sum(left == right for left, right in pairs),
    }


def test_relevance_control_is_asked_for_and_shown(playground):
    left, plain = (search(playground, "blue kettle", relevance_control=asked)["sides"][0] for asked in (True, None))
    assert (left["relevance_control"], plain["relevance_control"]) == (RelevanceControl.APPLIED, RelevanceControl.OFF)
    assert left["found"] < plain["found"]


def test_a_model_that_ignores_filters_is_found_out(playground):
    filters = {"brands": ["Blue"], "exclude": [item_id("blue kettle")], "max_price": 1000}
    (side,) = search(playground, "blue kettle", k=3, filters=filters)["sides"]
    checks = {check["name"]: check for check in side["filters"]}
    assert checks["brand"]["broken"] > 0
    assert checks["brand"]["kept"] + checks["brand"]["broken"] == side["found"]
    assert checks["exclude"] == {"name": "exclude", "kept": 9, "broken": 1, "unknown": 0}
    assert checks["price"]["broken"] == 0


def test_a_side_that_fails_says_why_and_leaves_the_other_alone(playground, server):
    key = f"souk@{server.address}"
    answer = search(playground, "red", sides=[{"model": key}, {"model": key, "version": 77}])
    good, bad = answer["sides"]
    assert len(good["hits"]) == 10
    assert bad["hits"] == []
    assert "version 77" in bad["error"]
    assert answer["comparison"] is None


def test_a_score_that_is_no_number_does_not_break_the_answer(tmp_path, start_server, open_playground):
    tiny_retriever.push(tmp_path, 1, "nan_scores")
    running = start_server(tmp_path)
    with Client(running.address) as client:
        wait_for(lambda: client.status()[0].state == "AVAILABLE", "the version")
    (side,) = search(open_playground(("souk", running.address)), "red", k=2)["sides"]
    assert [type(hit["score"]) for hit in side["hits"]] == [float, type(None)]


@pytest.mark.parametrize(
    ("request_values", "message"),
    [
        ({"query": "  "}, "The query is empty"),
        ({"query": "red", "sides": [{"model": "souk@evil.example:1"}]}, "was not started with the model"),
        ({"query": "red", "k": 0}, "k: "),
        ({"query": "red", "sides": []}, "sides: Tuple should have at least 1 item"),
    ],
)
def test_a_wrong_search_is_refused_with_a_sentence(playground, request_values, message):
    assert message in search(playground, expect=400, **request_values)["error"]


def test_models_are_listed_with_what_is_known_of_the_shop(playground, server):
    found = get(playground, "/api/models")
    assert [model["key"] for model in found["models"]] == [f"souk@{server.address}"]
    assert found["users"] == 4


def test_users_are_suggested_and_shown_with_titles(playground):
    assert [one["user"] for one in get(playground, "/api/users?text=ann")["users"]] == ["anna", "annabel", "joanna"]
    found = get(playground, "/api/user?user=anna")
    assert (found["known"], found["profile"], found["queries"]) == (
        True,
        {"gender": "f"},
        ["black lamp", "crème kettle"],
    )
    assert [item["title"] for item in found["items"]["long_term_clicks"]] == ["blue kettle", "red shirt"]
    assert [item["in_catalog"] for item in found["items"]["long_term_orders"]] == [True, False]
    assert get(playground, "/api/user?user=nobody")["known"] is False
    assert get(playground, "/api/queries")["queries"] == ["black lamp", "crème kettle", "red shoes"]


def test_brands_and_categories_are_suggested(playground):
    assert get(playground, "/api/values?field=brand&text=bl")["values"] == [
        {"value": "Black", "items": 6},
        {"value": "Blue", "items": 6},
    ]
    found = [one["value"] for one in get(playground, "/api/values?field=category&text=Clothes")["values"]]
    assert found == ["Clothes", "Clothes > Shirt", "Clothes > Shoes", "Clothes > 跑步鞋"]
    status, _, body = send(playground, "GET", "/api/values?field=__class__")
    assert (status, "not for '__class__'" in json.loads(body)["error"]) == (400, True)


def test_without_files_ids_are_shown(open_playground, server):
    playground = open_playground(("souk", server.address), catalog=(), user_state=None)
    answer = search(playground, "blue kettle", user="anna", k=1)
    assert answer["catalog"] == {"state": "absent"}
    assert answer["sides"][0]["hits"][0]["in_catalog"] is False
    assert get(playground, "/api/models")["users"] is None


def test_an_unreadable_catalog_leaves_the_search_working(open_playground, server, tmp_path):
    broken = tmp_path / "catalog.parquet"
    broken.write_text("no Parquet")
    playground = open_playground(("souk", server.address), catalog=(broken,))
    with pytest.raises(InputError):
        playground.playground._catalog.get(30)
    answer = search(playground, "blue kettle")
    assert answer["catalog"]["state"] == "failed"
    assert len(answer["sides"][0]["hits"]) == 10


@pytest.mark.parametrize("path", ["/", "/index.html", "/main.js", "/style.css"])
def test_the_page_is_sent_under_a_strict_policy(playground, path):
    status, headers, body = send(playground, "GET", path)
    assert (status, bool(body)) == (200, True)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_page_names_no_other_host(playground):
    for path in playground.page:
        content = playground.page[path][1].decode()
        assert "http://" not in content
        assert "https://" not in content
        for markup in ("innerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert markup not in content


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/%2e%2e/server.py", "//etc/passwd", "/api", "/api/nothing", "/page/main.js", "/favicon.ico"],
)
def test_nothing_but_the_page_can_be_read(playground, path):
    status, _, body = send(playground, "GET", path)
    assert (status, set(json.loads(body))) == (404, {"error"})


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8600", "127.0.0.1.evil.example", "[", "192.168.1.5", ""]
)
def test_a_name_that_somebody_pointed_here_is_refused(playground, host):
    status, _, body = send(playground, "GET", "/api/models", Host=host)
    assert status == 403
    assert playground.url in json.loads(body)["error"]


@pytest.mark.parametrize("host", ["localhost:1", "LOCALHOST", "127.0.0.1", "127.1.2.3:8600", "[::1]:8600"])
def test_the_names_of_this_machine_are_answered(playground, host):
    assert send(playground, "GET", "/", Host=host)[0] == 200


def test_a_server_on_all_addresses_answers_numbers_not_names(open_playground, server):
    playground = open_playground(("souk", server.address), host="0.0.0.0")
    assert send(playground, "GET", "/", Host="192.168.1.5:8600")[0] == 200
    assert send(playground, "GET", "/", Host="evil.example")[0] == 403
    assert playground.url.startswith("http://127.0.0.1:")


def test_another_sites_form_cannot_search(playground):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert send(playground, "POST", "/api/search", b'{"query": "red"}', Content_Type=kind)[0] == 415


def test_a_body_that_is_too_large_is_refused_unread(playground):
    status, head, _ = raw(playground, POST + f"Content-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode())
    assert (status, "Connection: close" in head) == (413, True)


@pytest.mark.parametrize("length", ["", "-1", "1e3", "٣", "9" * 5000], ids=lambda length: length[:3])
def test_a_length_that_is_no_number_is_refused(playground, length):
    status, head, body = raw(playground, POST + f"Content-Length: {length}\r\n\r\n".encode())
    assert (status, "Content-Length" in json.loads(body)["error"]) == (400, True)
    assert "nosniff" in head


@pytest.mark.parametrize("head", [b"", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_without_a_length_is_refused(playground, head):
    status, _, body = raw(playground, POST + head + b"\r\n")
    assert (status, set(json.loads(body))) == (411, {"error"})


@pytest.mark.parametrize(
    "request_", [b"\x16\x03\x01 TLS\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_http_is_refused_with_a_sentence(playground, request_):
    status, _, body = raw(playground, request_)
    assert (status, "cannot be read" in json.loads(body)["error"]) == (400, True)


def test_a_body_that_does_not_arrive_is_waited_for_only_so_long(playground, monkeypatch):
    monkeypatch.setattr("serving.playground.server._BODY_TIMEOUT_S", 0.1)
    status, _, body = raw(playground, POST + b'Content-Length: 100\r\n\r\n{"query"')
    assert (status, "did not arrive" in json.loads(body)["error"]) == (408, True)


def test_a_compressed_body_is_not_unpacked(playground):
    body = gzip.compress(json.dumps({"query": "red"}).encode())
    status, _, answer = send(
        playground, "POST", "/api/search", body, Content_Type="application/json", Content_Encoding="gzip"
    )
    assert (status, set(json.loads(answer))) == (400, {"error"})


def test_stopping_does_not_wait_for_a_silent_model(open_playground):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        running = open_playground(("souk", address))
        body = json.dumps({"query": "red", "sides": [{"model": f"souk@{address}"}]}).encode()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(send, running, "POST", "/api/search", body, Content_Type="application/json")
            silent.accept()
            running.stop()
            assert answer.exception(timeout=15) is not None or json.loads(answer.result()[2])["sides"][0]["error"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.server_port))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/search", 405), ("POST", "/api/models", 405), ("POST", "/", 404), ("PUT", "/api/search", 501)],
)
def test_another_method_is_refused(playground, method, path, status):
    assert send(playground, method, path)[0] == status


def test_text_of_the_shop_is_sent_as_it_is(playground):
    (side,) = search(playground, "green lamp", k=1)["sides"]
    assert side["hits"][0]["title"] == EVIL


def test_a_port_in_use_is_told_of(playground):
    with pytest.raises(InputError, match="Give another --port"):
        PlaygroundServer(Playground(Models([], 1), CatalogReader(()), Users(None)), "127.0.0.1", playground.server_port)

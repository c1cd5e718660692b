"""The playground's HTTP server: the page, and JSON for it. It answers this machine; it is no public web server."""

import asyncio
import ipaddress
import json
import logging
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from schema.settings import InputError
from serving.http_thread import HttpThread
from serving.playground.api import Playground
from serving.playground.search_request import Click, SearchRequest
from souk_client.errors import UserStateError

MAX_BODY_BYTES: Final = 1 << 20
_BODY_TIMEOUT_S: Final = 30.0
_KEEP_ALIVE_S: Final = 30.0
# What is left of a refused body is read this long, so that its sender sees the answer and no reset connection.
_LINGER_S: Final = 1.0
_SHUTDOWN_S: Final = 1.0
# A search holds its thread until the model answers or the call times out; a browser sends six requests at once.
_WORKERS: Final = 32
_FOLDER: Final = Path(__file__).parent / "page"
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Nothing but the page's own files runs, and the page talks to nobody else; no text can become markup or script.
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "souk",
}
_log = logging.getLogger("souk.playground")


class PlaygroundServer:
    """Listens on one address; `start` begins to answer.

    Args:
      playground: what answers.
      host: the address.
      port: the TCP port; 0 takes a free one.

    Raises:
      InputError: if the port cannot be opened.
    """

    def __init__(self, playground: Playground, host: str, port: int) -> None:
        self.playground = playground
        self.host = host
        self.page = _page()
        self._http: HttpThread | None = None
        version_6 = ":" in host
        family = socket.AF_INET6 if version_6 else socket.AF_INET
        both = version_6 and socket.has_dualstack_ipv6()
        try:
            self._socket = socket.create_server((host, port), family=family, dualstack_ipv6=both)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"The playground cannot listen on {host}:{port}: {error}. Give another --port; 0 takes a free one."
            ) from error
        self.server_port = int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Where this machine's browser finds the page."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.server_port}/" if ":" in host else f"http://{host}:{self.server_port}/"

    def answers_to(self, host_header: str | None) -> bool:
        """Whether a request for this host was meant for this server.

        A name that an attacker has pointed at this machine (DNS rebinding) is not; a browser would otherwise let the
        attacker's page read the answers. Numbers cannot be rebound, so all do where every address is listened on.
        """
        try:
            name = urlsplit(f"//{host_header or ''}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self.host.lower()):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self.host in ("0.0.0.0", "::")

    def start(self) -> None:
        """Answers, on other threads, until `stop`."""
        self._http = HttpThread(self._open(), _WORKERS, "playground")

    def stop(self) -> None:
        """Closes the connections to the models, which ends searches in flight, and the port; again does nothing."""
        self.playground.close()
        http, self._http = self._http, None
        if http is not None:
            http.stop()
        self._socket.close()

    async def _open(self) -> web.BaseRunner:
        server = _Server(
            self._answer,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE_S,
            lingering_time=_LINGER_S,
            auto_decompress=False,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        return runner

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        try:
            if not self.answers_to(request.headers.get("Host")):
                raise _Refusal(
                    HTTPStatus.FORBIDDEN,
                    f"This playground answers to {self.url}, not to the host that this request names.",
                )
            if request.method not in ("GET", "POST"):
                raise _Refusal(HTTPStatus.NOT_IMPLEMENTED, "The playground takes GET and POST.")
            if request.method == "GET" and request.path in self.page:
                return _response(HTTPStatus.OK, *self.page[request.path])
            return _json(HTTPStatus.OK, await self._result(request))
        except (InputError, UserStateError) as error:
            return _json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except _Refusal as refusal:
            return _refused(refusal.status, str(refusal))
        except ConnectionError:
            raise
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            return _refused(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "Something went wrong in the playground itself; what it was is in the log where it was started.",
            )

    async def _result(self, request: web.BaseRequest) -> dict[str, Any]:
        act = _ACTIONS.get(request.path)
        if act is not None:
            if request.method != "POST":
                raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path} takes a POST of JSON.")
            return await asyncio.to_thread(act, self.playground, await _body(request))
        read = _READERS.get(request.path)
        if read is None:
            raise _Refusal(HTTPStatus.NOT_FOUND, "There is nothing here; the page is at /.")
        if request.method != "GET":
            raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path} is read with GET.")
        return await asyncio.to_thread(read, self.playground, dict(request.query.items()))


class _Refusal(Exception):  # noqa: N818 (not every refusal is an error)
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._kwargs)


class _Connection(web.RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.Response:
        """Answers what is no HTTP as every other refusal is answered."""
        _log.debug("a request could not be read", exc_info=exc)
        return _refused(HTTPStatus(status), f"This HTTP request cannot be read: {message}")


async def _body(request: web.BaseRequest) -> bytes:
    # Another site's page cannot send this type without being allowed to, which it never is.
    if request.content_type != "application/json":
        raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be of the type application/json.")
    if request.content_length is None:
        raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "The length of the body is not given.")
    if request.content_length > MAX_BODY_BYTES:
        raise _Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {MAX_BODY_BYTES:,} bytes, the most read."
        )
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise _Refusal(
            HTTPStatus.REQUEST_TIMEOUT, f"The body did not arrive within {_BODY_TIMEOUT_S:g} seconds."
        ) from None


def _refused(status: HTTPStatus, message: str) -> web.Response:
    response = _json(status, {"error": message})
    # What is left unread of a body must not be taken for the next request.
    response.force_close()
    return response


def _json(status: HTTPStatus, value: Mapping[str, Any]) -> web.Response:
    return _response(
        status, "application/json", json.dumps(value, ensure_ascii=False, allow_nan=False).encode(errors="replace")
    )


def _response(status: HTTPStatus, kind: str, content: bytes) -> web.Response:
    return web.Response(status=status, body=content, content_type=kind, charset="utf-8", headers=_HEADERS)


def _page() -> dict[str, tuple[str, bytes]]:
    """URL path -> type and content of every file of the page; no other file can be asked for."""
    files = {
        f"/{path.name}": (_TYPES[path.suffix], path.read_bytes()) for path in _FOLDER.iterdir() if path.suffix in _TYPES
    }
    return files | {"/": files["/index.html"]}


_ACTIONS: Final[Mapping[str, Callable[[Playground, bytes], dict[str, Any]]]] = {
    "/api/search": lambda playground, body: playground.search(SearchRequest.read(body)),
    "/api/click": lambda playground, body: playground.click(Click.read(body)),
}
_READERS: Final[Mapping[str, Callable[[Playground, Mapping[str, str]], dict[str, Any]]]] = {
    "/api/models": lambda playground, asked: playground.models(),
    "/api/users": lambda playground, asked: playground.users(asked.get("text", "")),
    "/api/user": lambda playground, asked: playground.user(asked.get("user", "")),
    "/api/queries": lambda playground, asked: playground.queries(),
    "/api/values": lambda playground, asked: playground.values(asked.get("field", ""), asked.get("text", "")),
}

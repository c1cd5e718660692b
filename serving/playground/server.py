"""The playground's HTTP server: the page, and JSON for it. It answers this machine; it is no public web server."""

import ipaddress
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from schema.settings import InputError
from serving.playground.api import Playground
from serving.playground.search_request import SearchRequest

MAX_BODY_BYTES: Final = 1 << 20
_SOCKET_TIMEOUT_S: Final = 30.0
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
}
_log = logging.getLogger("souk.playground")


class PlaygroundServer(ThreadingHTTPServer):
    """Listens on one address, a thread for each connection.

    Args:
      playground: what answers.
      host: the address.
      port: the TCP port; 0 takes a free one.

    Raises:
      InputError: if the port cannot be opened.
    """

    daemon_threads = True

    def __init__(self, playground: Playground, host: str, port: int) -> None:
        self.playground = playground
        self.host = host
        self.page = _page()
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"The playground cannot listen on {host}:{port}: {error}. Give another --port; 0 takes a free one."
            ) from error

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

    def start(self) -> threading.Thread:
        """Serves in a thread until `stop`."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="playground", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Ends `start`, closes the port and the connections to the models."""
        self.shutdown()
        self.server_close()
        self.playground.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in mid-answer is not worth a stack trace."""
        _log.debug("connection of %s ended", client_address, exc_info=True)


class _Refusal(Exception):  # noqa: N818 (not every refusal is an error)
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: PlaygroundServer
    protocol_version = "HTTP/1.1"
    server_version = "souk"
    sys_version = ""
    timeout = _SOCKET_TIMEOUT_S

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)

    def _answer(self, method: str) -> None:
        try:
            if not self.server.answers_to(self.headers.get("Host")):
                raise _Refusal(
                    HTTPStatus.FORBIDDEN,
                    f"This playground answers to {self.server.url}, not to the host that this request names.",
                )
            path, _, query = self.path.partition("?")
            if method == "GET" and path in self.server.page:
                kind, content = self.server.page[path]
                self._send(HTTPStatus.OK, kind, content)
                return
            self._send_json(HTTPStatus.OK, self._result(method, path, query))
        except InputError as error:
            self._send_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except _Refusal as refusal:
            # What is left unread of a body must not be taken for the next request.
            self.close_connection = True
            self._send_json(refusal.status, {"error": str(refusal)})
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:
            _log.exception("%s %s failed", method, self.path)
            self.close_connection = True
            message = "Something went wrong in the playground itself; what it was is in the log where it was started."
            self._send_json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": message})

    def _result(self, method: str, path: str, query: str) -> dict[str, Any]:
        if path == "/api/search":
            if method != "POST":
                raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "A search is a POST of JSON to /api/search.")
            return self.server.playground.search(SearchRequest.read(self._body()))
        read = _READERS.get(path)
        if read is None:
            raise _Refusal(HTTPStatus.NOT_FOUND, "There is nothing here; the page is at /.")
        if method != "GET":
            raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} is read with GET.")
        asked = {name: values[-1] for name, values in parse_qs(query, max_num_fields=10, errors="replace").items()}
        return read(self.server.playground, asked)

    def _body(self) -> bytes:
        # Another site's page cannot send this type without being allowed to, which it never is.
        if self.headers.get_content_type() != "application/json":
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be of the type application/json.")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "The length of the body is not given.")
        if len(length) > 10 or int(length) > MAX_BODY_BYTES:
            raise _Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {MAX_BODY_BYTES:,} bytes, the most read."
            )
        return self.rfile.read(int(length))

    def _send_json(self, status: HTTPStatus, value: Mapping[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(value, ensure_ascii=False, allow_nan=False).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def _page() -> dict[str, tuple[str, bytes]]:
    """URL path -> type and content of every file of the page; no other file can be asked for."""
    files = {
        f"/{path.name}": (_TYPES[path.suffix], path.read_bytes()) for path in _FOLDER.iterdir() if path.suffix in _TYPES
    }
    return files | {"/": files["/index.html"]}


_READERS: Final[Mapping[str, Callable[[Playground, Mapping[str, str]], dict[str, Any]]]] = {
    "/api/models": lambda playground, asked: playground.models(),
    "/api/users": lambda playground, asked: playground.users(asked.get("text", "")),
    "/api/user": lambda playground, asked: playground.user(asked.get("user", "")),
    "/api/queries": lambda playground, asked: playground.queries(),
    "/api/values": lambda playground, asked: playground.values(asked.get("field", ""), asked.get("text", "")),
}

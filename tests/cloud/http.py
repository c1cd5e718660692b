"""A local HTTP server that stands in for Google's: it hands each request to the services behind it."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Request:
    """One request; names of headers are in small letters, `origin` is the server's own address as the client has it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    origin: str


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Service(Protocol):
    def answer(self, request: Request) -> Answer | None:
        """What the service says, or None where the request is not for it."""


def json_answer(value: Any, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(value).encode())


def error(status: int, message: str) -> Answer:
    """As Google's services tell of errors."""
    return json_answer({"error": {"code": status, "message": message, "errors": [{"message": message}]}}, status)


class SignIn:
    """Gives out `token` for any assertion, and lets nothing through without it.

    Attributes:
      granted: how often the token was asked for.
    """

    def __init__(self, token: str):
        self.token = token
        self.granted = 0

    def answer(self, request: Request) -> Answer | None:
        if request.path.endswith("/token"):
            self.granted += 1
            return json_answer({"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"})
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return error(401, "Anonymous caller does not have access.")
        return None


class Server:
    """Serves on a free port of this machine until it is closed.

    Args:
      services: asked in this order, until one answers.

    Attributes:
      address: to reach it, `http://host:port`.
      requests: all requests so far, as (method, path).
    """

    def __init__(self, *services: Service):
        server = self
        self.requests: list[tuple[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else the kernel holds the body back until the client has acknowledged the headers.
            disable_nagle_algorithm = True
            origin = ""

            def setup(self) -> None:
                super().setup()
                self.origin = server.address

            def _handle(self) -> None:
                path, _, query = self.path.partition("?")
                server.requests.append((self.command, path))
                headers = {name.lower(): value for name, value in self.headers.items()}
                values = {key: value[0] for key, value in parse_qs(query, keep_blank_values=True).items()}
                body = (
                    self._chunks()
                    if "chunked" in headers.get("transfer-encoding", "")
                    else self.rfile.read(int(headers.get("content-length", 0)))
                )
                request = Request(self.command, path, values, headers, body, self.origin)
                try:
                    found = (answer for service in services if (answer := service.answer(request)) is not None)
                    answer = next(found, error(404, f"nobody answers {self.command} {path}"))
                except Exception as problem:
                    # Not 500, which clients try again for minutes.
                    answer = error(400, f"{self.command} {path} is not understood: {problem!r}")
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def _chunks(self) -> bytes:
                """The body of a request that was sent before its length was known."""
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _handle  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()

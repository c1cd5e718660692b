"""An HTTP server on this machine, in whose routes the stand-ins for the two backends are written."""

import abc
import json
import re
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

Json = dict[str, Any]


class RefusedError(Exception):
    """What the backend answers in place of a result."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Request:
    """A request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


def route(method: str, pattern: str) -> Callable[[Any], Any]:
    """Marks a method of a backend as what answers requests; the groups of the pattern are its arguments."""

    def mark(function: Any) -> Any:
        function.route = (method, re.compile(pattern))
        return function

    return mark


@dataclass
class Backend(abc.ABC):
    """Keeps state, answers over HTTP, and remembers what it was asked."""

    requests: list[Request] = field(default_factory=list)
    address: str = ""
    number: int = 0
    page: ClassVar[int] = 2

    def __enter__(self) -> "Backend":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def changes(self) -> list[str]:
        """What it was asked beyond reading, in order."""
        return [f"{request.method} {request.path}" for request in self.requests if request.method != "GET"]

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def paged(self, items: list[Json], field_name: str, query: dict[str, str], token: str, next_token: str) -> Json:
        """One page of a list, and how to ask for the next."""
        start = int(query.get(token) or 0)
        answer: Json = {field_name: items[start : start + self.page]} if items else {}
        if start + self.page < len(items):
            answer[next_token] = str(start + self.page)
        return answer

    @abc.abstractmethod
    def error(self, refused: RefusedError) -> Json:
        """How this backend words a refusal."""


def _handler(backend: Backend) -> type[BaseHTTPRequestHandler]:
    functions = [getattr(backend, name) for name in dir(type(backend)) if hasattr(getattr(backend, name), "route")]

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            split = urllib.parse.urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            request = Request(
                self.command,
                urllib.parse.unquote(split.path),
                dict(urllib.parse.parse_qsl(split.query)),
                json.loads(raw) if raw else None,
                dict(self.headers),
            )
            backend.requests.append(request)
            try:
                code, answer = 200, self._call(request)
            except RefusedError as refused:
                code, answer = refused.code, backend.error(refused)
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _call(self, request: Request) -> Json:
            for function in functions:
                method, pattern = function.route
                match = pattern.fullmatch(request.path)
                if method == request.method and match:
                    return function(request, *match.groups())
            raise RefusedError(404, f"no such method: {request.method} {request.path}")

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return Handler

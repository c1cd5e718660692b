"""Errors of the REST port as JSON, those too that aiohttp answers before a handler is called."""

import asyncio
import json

from aiohttp import web

# What aiohttp decompresses; one that this machine lacks a library for is refused by aiohttp itself.
_ENCODINGS = frozenset({"", "identity", "gzip", "deflate", "br", "zstd"})


class JsonRunner(web.AppRunner):
    """An `AppRunner` whose answers to requests that are no HTTP, or cannot be decompressed, are JSON."""

    @property
    def server(self) -> web.Server | None:
        """What makes the protocol of a connection."""
        server = super().server
        if server is None:
            return None
        # A site only calls it.
        return lambda: _JsonProtocol(server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type,return-value]


class _JsonProtocol(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer, after which the connection is closed."""
        if status >= 500:
            self.log_exception("%s failed", request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        # The lines after the first repeat the bytes; the sentence after the first is for who runs the server.
        first = (message or "").partition("\n")[0].partition(". ")[0].rstrip(":")
        response = json_answer(status, error_text(first or "the server failed; its log says why"))
        response.force_close()
        return response


async def expect(request: web.Request) -> None:
    """Answers an Expect header, as aiohttp does it by itself, but in JSON."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        text = error_text("417: Expectation Failed")
        raise web.HTTPExpectationFailed(text=text, content_type="application/json")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # It is no part of the answer that is still to come.
    request.writer.output_size = 0


async def read_body(request: web.Request) -> bytes:
    """The body, decompressed.

    Raises:
      web.HTTPBadRequest: its Content-Encoding is unknown, or not that of its bytes.
      web.HTTPRequestEntityTooLarge: it is larger than the application reads.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise web.HTTPBadRequest(text=f"Content-Encoding {encoding!r} is not known; send gzip, deflate or none")
    try:
        return await request.read()
    except web.RequestPayloadError:
        # Else aiohttp would read on, and log a stack trace of the same error.
        request.content.feed_eof()
        request.protocol.close()
        how = f" as Content-Encoding {encoding} says" if encoding else ""
        raise web.HTTPBadRequest(text=f"The body cannot be read{how}") from None


def error_text(message: str) -> str:
    """TensorFlow Serving's JSON of an error."""
    return json.dumps({"error": message})


def json_answer(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """A response with JSON."""
    body = text.encode(errors="replace")
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)

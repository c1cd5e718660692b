"""The servers that the client asks."""

from tests.serving.conftest import server, start_server

__all__ = ["server", "start_server"]

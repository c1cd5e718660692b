"""A real Redis: the one on PATH, or Debian's package, unpacked into a cache without root's rights."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import redis
from filelock import FileLock

_PACKAGES = ("redis-server", "redis-tools")
# Which package has what `ldd` may not find.
_LIBRARIES = {
    "libatomic.so.1": "libatomic1",
    "libcrypto.so.3": "libssl3",
    "libjemalloc.so.2": "libjemalloc2",
    "liblzf.so.1": "liblzf1",
    "libssl.so.3": "libssl3",
    "libsystemd.so.0": "libsystemd0",
}
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "souk" / "redis"


@dataclass(frozen=True)
class Programs:
    """The folder of redis-server, redis-cli and redis-benchmark, and the environment that they run in."""

    folder: Path
    environment: dict[str, str]

    def command(self, name: str, *arguments: object) -> list[str]:
        return [str(self.folder / name), *map(str, arguments)]


@cache
def programs() -> Programs | None:
    """Redis, or None where it can be neither found nor fetched."""
    found = shutil.which("redis-server")
    if found:
        return Programs(Path(found).parent, dict(os.environ))
    try:
        _CACHE.mkdir(parents=True, exist_ok=True)
        with FileLock(_CACHE / "lock"):
            if not (_CACHE / "done").exists():
                _fetch(_CACHE)
                (_CACHE / "done").touch()
    except (OSError, subprocess.SubprocessError):
        return None
    return Programs(_CACHE / "usr/bin", _environment(_CACHE))


def _environment(root: Path) -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": str(root / "usr/lib/x86_64-linux-gnu")}


def _fetch(root: Path) -> None:
    _unpack(_PACKAGES, root)
    program = root / "usr/bin/redis-server"
    told = subprocess.run(
        ["ldd", program.resolve()], env=_environment(root), capture_output=True, text=True, check=True, timeout=60
    ).stdout
    missing = {line.split()[0] for line in told.splitlines() if "not found" in line}
    _unpack(sorted({_LIBRARIES.get(name, name) for name in missing}), root)
    subprocess.run([program, "--version"], env=_environment(root), check=True, timeout=60, capture_output=True)


def _unpack(packages: tuple[str, ...] | list[str], root: Path) -> None:
    if not packages:
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", *packages], cwd=folder, check=True, timeout=120, capture_output=True)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, root], check=True, timeout=60, capture_output=True)


@dataclass
class Server:
    """A Redis on a socket of its own, which keeps its data in its folder when it is stopped and started again."""

    programs: Programs
    folder: Path
    options: tuple[object, ...] = ()
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/s"

    def start(self) -> None:
        own = ("--port", 0, "--unixsocket", self.folder / "s", "--dir", self.folder, "--save", "3600 1")
        arguments = (*self.options, *own)
        self.process = subprocess.Popen(
            self.programs.command("redis-server", *arguments), env=self.programs.environment, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except (redis.ConnectionError, redis.BusyLoadingError):
                    assert self.process.poll() is None, "redis-server has ended"
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.01)

    def stop(self) -> None:
        """Ends the server; its data are on disk, as an orderly stop leaves them."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None


@contextmanager
def running(*options: object) -> Iterator[Server]:
    """A server of one's own; the test is skipped where there is no Redis.

    Args:
      options: the file of its configuration, and options of the command line.
    """
    found = programs()
    if found is None:
        pytest.skip("redis-server is neither on PATH nor to be had by `apt-get download`")
    # Of pytest's folders, the path of a socket may become too long.
    with tempfile.TemporaryDirectory(prefix="redis") as folder:
        server = Server(found, Path(folder), options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """One Redis for all tests of a process; they leave it running."""
    with running() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """The address of an empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url

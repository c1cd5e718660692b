"""Beam's job server with a Flink inside, out of Maven Central: a real one, in a Java process of its own."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

POM: Final = Path(__file__).parent / "pom.xml"
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "souk"
_MAIN: Final = "org.apache.beam.runners.flink.FlinkJobServerDriver"
# Flink's serializers look into these packages, which Java 17 closes.
_OPENED: Final = (
    "lang",
    "lang.invoke",
    "lang.reflect",
    "math",
    "net",
    "nio",
    "text",
    "time",
    "util",
    "util.concurrent",
)
_STARTED: Final = re.compile(r"JobService started on localhost:(\d+)")
_FETCH_S: Final = 300
_START_S: Final = 60


class MissingError(Exception):
    """There is no Java here, or no way to the packages; the message says which."""


def class_path() -> str:
    """The job server's Java packages, fetched at the first call and kept outside of the tree."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise MissingError(f"the program `{program}` is not installed")
    known = _CACHE / f"flink-{hashlib.sha256(POM.read_bytes()).hexdigest()[:16]}.classpath"
    known.parent.mkdir(parents=True, exist_ok=True)
    with known.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if known.exists() and all(Path(path).exists() for path in known.read_text().split(":")):
            return known.read_text()
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:build-classpath", f"-Dmdep.outputFile={known}"]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S, check=False)
        except subprocess.TimeoutExpired:
            raise MissingError(f"Maven did not fetch Flink within {_FETCH_S} s") from None
        if ended.returncode:
            said = [line for line in ended.stdout.splitlines() if "ERROR" in line]
            raise MissingError(f"Maven could not fetch Flink: {said[0] if said else ended.stderr}")
    return known.read_text()


@contextmanager
def job_server(folder: Path, packages: str, variables: dict[str, str]) -> Iterator[str]:
    """Runs the job server; yields its endpoint. Every job gets a Flink of its own, within the server's process.

    Args:
      folder: for its log and its files.
      packages: of `class_path`.
      variables: all that it, and workers that it starts, find set.
    """
    log = folder / "job_server.log"
    arguments = folder / "java.arguments"
    opened = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED]
    arguments.write_text("\n".join(["-Xmx1g", "-XX:TieredStopAtLevel=1", *opened, "-cp", packages, _MAIN]))
    ports = [f"--{name}-port=0" for name in ("job", "artifact", "expansion")]
    options = ["--flink-master=[local]", "--job-host=localhost", *ports]
    with log.open("w") as output:
        process = subprocess.Popen(
            [shutil.which("java") or "java", f"@{arguments}", *options, f"--artifacts-dir={folder / 'artifacts'}"],
            cwd=folder,
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield f"localhost:{_port(process, log)}"
        finally:
            process.terminate()
            process.wait()


def _port(process: subprocess.Popen, log: Path) -> str:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        if started := _STARTED.search(log.read_text()):
            return started[1]
        time.sleep(0.1)
    raise RuntimeError(f"the job server did not start; its log:\n{log.read_text()[-3000:]}")

"""A real broker of Kafka out of Maven Central, in KRaft mode: a Java process that is its own controller."""

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

_POM = Path(__file__).parent / "pom.xml"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "souk"
_CLUSTER = "AAAAAAAAAAAAAAAAAAAAAA"


def _class_path() -> str:
    """The broker's Java packages, fetched at the first call; the test is skipped where they cannot be had."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"the program `{program}` is not installed")
    known = _CACHE / f"kafka-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:16]}.classpath"
    known.parent.mkdir(parents=True, exist_ok=True)
    with known.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (known.exists() and all(Path(path).exists() for path in known.read_text().split(":"))):
            command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:build-classpath", f"-Dmdep.outputFile={known}"]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if ended.returncode:
                pytest.skip(f"Maven could not fetch Kafka: {ended.stdout[-300:]}")
    return known.read_text()


def free_port() -> int:
    """A port that nobody listens on now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The address of a broker that makes topics when they are first written to."""
    packages = _class_path()
    port, controller = free_port(), free_port()
    settings = folder / "server.properties"
    settings.write_text(
        f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
num.partitions=2
"""
    )
    java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]
    tool = [*java, packages, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(settings)]
    subprocess.run(tool, check=True, timeout=120, capture_output=True)
    with (folder / "broker.log").open("w") as log:
        process = subprocess.Popen(
            [*java, packages, "kafka.Kafka", str(settings)], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            address = f"127.0.0.1:{port}"
            _wait(process, address, folder / "broker.log")
            yield address
        finally:
            process.terminate()
            process.wait(60)


def _wait(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    producer = Producer({"bootstrap.servers": address, "log_level": 0})
    while process.poll() is None and time.monotonic() < deadline:
        try:
            producer.list_topics(timeout=1)
            return
        except KafkaException:
            time.sleep(0.2)
    raise RuntimeError(f"the broker did not start; its log:\n{log.read_text()[-3000:]}")

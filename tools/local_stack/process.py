"""One child process: start it, know when it is ready, stop it, and leave none behind."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
STOP_SECONDS = 35.0
_HTTP_SECONDS = 1.0


class StackError(Exception):
    """The stack cannot start or go on; the text says what was wrong and what to do next."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process of the stack.

    It starts once every name in `after` is ready. `ready` answers quickly and never raises; None means that the
    program is a step: ready once it has ended with 0. `prepare` is called before each start and makes what the program keeps on disk
    where it is missing; it says whether it made that anew. `privileges` are `setpriv` options. What a program with `has_secret_output`
    writes to stdout is thrown away.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    after: Sequence[str] = ()
    ready: Callable[[], bool] | None = None
    prepare: Callable[[], bool] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    privileges: Sequence[str] = ()
    has_secret_output: bool = False


def start(program: Program, directory: Path) -> subprocess.Popen[bytes]:
    """Start it with output appended to `directory`/log/NAME.log, in a session of its own.

    On Linux the kernel sends it `stop_signal` when the process that called this is gone, however that ended.
    """
    logs, pids = directory / "log", directory / "pid"
    logs.mkdir(parents=True, exist_ok=True)
    pids.mkdir(parents=True, exist_ok=True)
    with (logs / f"{program.name}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  the commands are this package's own
            [*guard(program.stop_signal, program.privileges), *program.command],
            env={**os.environ, **program.environment},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if program.has_secret_output else log,
            stderr=log,
            start_new_session=True,
        )
    with contextlib.suppress(psutil.NoSuchProcess):
        born = psutil.Process(process.pid).create_time()
        record = {"pid": process.pid, "born": born, "signal": program.stop_signal.value}
        (pids / f"{program.name}.json").write_text(json.dumps(record))
    return process


def guard(stop_signal: signal.Signals, privileges: Sequence[str] = ()) -> list[str]:
    """The words put before a command so that it ends with its parent and has only `privileges`."""
    setpriv = _setpriv()
    if setpriv:
        return [setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG"), *privileges, "--"]
    if privileges:
        raise StackError(
            "PostgreSQL does not run as root, and `setpriv` (util-linux) is not here to start it as another "
            "user: run this as a normal user, or install util-linux."
        )
    return []


@cache
def _setpriv() -> str | None:
    found = shutil.which("setpriv", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if not found:
        return None
    # The one of BusyBox does not know the option.
    probe = subprocess.run([found, "--pdeathsig", "TERM", "--", "true"], capture_output=True)  # noqa: S603
    return found if probe.returncode == 0 else None


def stop(processes: Iterable[tuple[Program, subprocess.Popen[bytes]]], seconds: float = STOP_SECONDS) -> None:
    """Ask all of them to stop at once, wait `seconds` in all, then kill what is left."""
    asked = list(processes)
    for program, process in asked:
        if process.poll() is None:
            process.send_signal(program.stop_signal)
    deadline = time.monotonic() + seconds
    for _, process in asked:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def stop_leftovers(directory: Path) -> list[str]:
    """Stop what an earlier run in `directory` left running, and return the names.

    A recorded process is one of ours only if it was born when the record says: process ids come again.
    """
    left = []
    for path in sorted((directory / "pid").glob("*.json")):
        with contextlib.suppress(psutil.Error, ValueError, KeyError):
            record = json.loads(path.read_text())
            process = psutil.Process(record["pid"])
            if abs(process.create_time() - record["born"]) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                left.append(path.stem)
                process.send_signal(record["signal"])
                _wait_or_kill(process)
        path.unlink()
    return left


def _wait_or_kill(process: psutil.Process) -> None:
    try:
        process.wait(STOP_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)


def log_tail(program: Program, directory: Path, lines: int = 20) -> str:
    """The last lines that the program wrote."""
    path = directory / "log" / f"{program.name}.log"
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


@contextlib.contextmanager
def running(program: Program, directory: Path, seconds: float = 60.0) -> Iterator[subprocess.Popen[bytes]]:
    """The program, ready, for as long as the block runs.

    Raises StackError with the end of its log when it ends early or is not ready within `seconds`.
    """
    ready = program.ready or (lambda: True)
    process = start(program, directory)
    try:
        deadline = time.monotonic() + seconds
        while not ready():
            if process.poll() is not None:
                raise StackError(
                    f"{program.name} ended with {process.returncode}:\n{log_tail(program, directory)}"
                )
            if time.monotonic() > deadline:
                raise StackError(
                    f"{program.name} was not ready in {seconds:.0f} s:\n{log_tail(program, directory)}"
                )
            time.sleep(0.05)
        yield process
    finally:
        stop([(program, process)])


def health_check(port: int) -> Callable[[], bool]:
    """Return a function that tells whether the service with this health port is ready."""
    return lambda: get(port, "/readyz") is not None


def get(port: int, path: str) -> bytes | None:
    """Return the body of a page on 127.0.0.1; None unless the answer is 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_HTTP_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == 200 else None


_given_ports: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens now, another at each call."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


def port_is_free(port: int) -> bool:
    """Whether a server of ours could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

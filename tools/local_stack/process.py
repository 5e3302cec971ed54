"""Child processes: start one, wait until it is ready, stop it, and stop what a killed parent left behind."""

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
    """The stack cannot start or continue. The text says what was wrong and what to do next."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the stack, which runs as one process.

    It starts when every program named in `after` is ready. `ready` answers quickly and never raises; without it the program is a step,
    which is ready when it has ended with 0. `prepare` runs before each start, makes missing storage, and returns whether it made any.
    `privileges` are `setpriv` options. The stdout of a program with `has_secret_output` is discarded.
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
    """Start a program in a new session. Its output is appended to `directory`/log/NAME.log.

    On Linux the kernel sends it `stop_signal` when the calling process ends, also after a crash.
    """
    logs, pids = directory / "log", directory / "pid"
    logs.mkdir(parents=True, exist_ok=True)
    pids.mkdir(parents=True, exist_ok=True)
    with (logs / f"{program.name}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  the commands come from this package
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
    """Return the words to put before a command, so that it ends with its parent and has only `privileges`."""
    setpriv = _setpriv()
    if setpriv:
        return [setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG"), *privileges, "--"]
    if privileges:
        raise StackError(
            "PostgreSQL refuses to run as root, and `setpriv` (util-linux) is missing, which could start it as another "
            "user. Run this as a normal user, or install util-linux."
        )
    return []


@cache
def _setpriv() -> str | None:
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if not setpriv:
        return None
    # BusyBox has a setpriv without this option.
    probe = subprocess.run([setpriv, "--pdeathsig", "TERM", "--", "true"], capture_output=True)  # noqa: S603
    return setpriv if probe.returncode == 0 else None


def stop(processes: Iterable[tuple[Program, subprocess.Popen[bytes]]], seconds: float = STOP_SECONDS) -> None:
    """Ask all processes to stop, wait up to `seconds` for all of them, then kill the others."""
    processes = list(processes)
    for program, process in processes:
        if process.poll() is None:
            process.send_signal(program.stop_signal)
    deadline = time.monotonic() + seconds
    for _, process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def stop_leftovers(directory: Path) -> list[str]:
    """Stop the programs that an earlier run in `directory` left running, and return their names.

    The system reuses process ids, so a process counts only if it was born at the recorded time.
    """
    leftovers = []
    for path in sorted((directory / "pid").glob("*.json")):
        with contextlib.suppress(psutil.Error, ValueError, KeyError):
            record = json.loads(path.read_text())
            process = psutil.Process(record["pid"])
            if abs(process.create_time() - record["born"]) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                leftovers.append(path.stem)
                process.send_signal(record["signal"])
                _wait_or_kill(process)
        path.unlink()
    return leftovers


def _wait_or_kill(process: psutil.Process) -> None:
    try:
        process.wait(STOP_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)


def log_tail(program: Program, directory: Path, lines: int = 20) -> str:
    """Return the last lines of the program's log."""
    path = directory / "log" / f"{program.name}.log"
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


@contextlib.contextmanager
def running(program: Program, directory: Path, seconds: float = 60.0) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program, wait until it is ready, and stop it when the block ends.

    Raise StackError with the end of its log when it ends early or is not ready within `seconds`.
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
    """Return a function that returns whether the service with this health port is ready."""
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
    """Return a port of 127.0.0.1 on which nothing listens now. Each call returns another port."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


def port_is_free(port: int) -> bool:
    """Return whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

"""The command of the local stack: `up` runs everything in the foreground, `down` ends it, `run` adds a replica."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

from tools.local_stack import state
from tools.local_stack.lines import fields, readable
from tools.local_stack.process import StackError, free_port, stop_leftovers
from tools.local_stack.programs import SERVICES, build, read_settings
from tools.local_stack.supervisor import Supervisor

_NAME_WIDTH = 10
_USAGE = "usage: python -m tools.local_stack up | down | run SERVICE"


def up() -> None:
    """Start everything, print the address to open, and stop everything on Ctrl-C, SIGTERM or SIGHUP."""
    settings = read_settings(os.environ)
    directory = state.directory(os.environ)
    with state.locked(directory):
        for name in stop_leftovers(directory):
            _show(name, "stopped; an earlier start had left it running")
        _show("stack", "preparing the programs")
        with _stop_signals_raise():
            stack = build(settings, directory)
        screen = _Screen(stack.address)
        supervisor = Supervisor(stack.programs, directory, screen.show)
        of_services = {
            program.name: dict(program.environment) for program in stack.programs if program.name in SERVICES
        }
        with _Stopping(supervisor) as stopping, state.published(directory, stack.for_tools, of_services):
            supervisor.run(stopping.is_asked, screen.ready)
        _show("stack", "stopped")


def down() -> None:
    """Stop the stack that runs in the state folder, and wait until it has ended."""
    directory = state.directory(os.environ)
    holder = state.holder(directory)
    if holder is None:
        for name in stop_leftovers(directory):
            _show(name, "stopped; an earlier start had left it running")
        _show("stack", "no stack runs here")
        return
    os.kill(holder, signal.SIGTERM)
    while state.holder(directory) == holder:
        time.sleep(0.1)
    _show("stack", "stopped")


def run(name: str) -> None:
    """Run one more replica of a service of the running stack in this process, on free ports."""
    settings = state.settings_of_service(state.directory(os.environ), name)
    for port in {"MRRLYTICS_HEALTH_PORT", "MRRLYTICS_METRICS_PORT", "MRRLYTICS_PORT"} & settings.keys():
        settings[port] = str(free_port())
    del settings["MRRLYTICS_REPLICA"]
    command = [sys.executable, "-m", f"services.{name}"]
    os.execve(sys.executable, command, {**os.environ, **settings})  # noqa: S606  our own command


class _Screen:
    """The log on the screen. Its last line is the address to open."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._is_ready = False

    def show(self, name: str, line: str) -> None:
        # Until the first account exists, the gateway logs a one-time link to setup: that is the address to open.
        link = fields(line).get("setup_url") if name == "gateway" else None
        if link is None:
            _show(name, readable(line))
        else:
            self._address = str(link)
            if self._is_ready:
                self.ready()

    def ready(self) -> None:
        self._is_ready = True
        _show("stack", "everything is ready; Ctrl-C stops it and keeps all data")
        _show("open", self._address)


class _Stopping:
    """Stop signals: the first SIGINT, SIGTERM or SIGHUP asks for a clean stop, the second kills all programs."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._asked = 0

    def __enter__(self) -> "_Stopping":
        for number in _STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def is_asked(self) -> bool:
        return self._asked > 0

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._asked += 1
        if self._asked == 1:
            _show("stack", f"stopping ({signal.Signals(number).name}); press Ctrl-C again to stop at once")
        else:
            self._supervisor.kill()


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _stop_signals_raise() -> Iterator[None]:
    """Let a stop signal raise KeyboardInterrupt: during preparation no program runs that must be stopped."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in _STOP_SIGNALS:
        signal.signal(number, interrupt)
    yield


def _show(name: str, line: str) -> None:
    # A closed terminal must not keep the stack from stopping cleanly.
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{name:<{_NAME_WIDTH}} {line}\n")
        sys.stdout.flush()


def main(words: list[str]) -> int:
    """Run one command and return its exit code: 0 also after a stop signal; 1, with a text, when it cannot run."""
    try:
        match words:
            case ["up"]:
                up()
            case ["down"]:
                down()
            case ["run", name]:
                run(name)
            case _:
                raise StackError(_USAGE)
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        _show("stack", "stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

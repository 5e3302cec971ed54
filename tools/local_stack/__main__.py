"""`python -m tools.local_stack up` runs everything in the foreground, `down` ends it, `run` adds a replica."""

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
    with state.held(directory):
        for name in stop_leftovers(directory):
            _show(name, "was left running by an earlier start and is stopped now")
        _show("stack", "preparing")
        with _stop_signals_raise():
            stack = build(settings, directory)
        screen = _Screen(stack.address)
        supervisor = Supervisor(stack.programs, directory, screen.show)
        of_services = {one.name: dict(one.environment) for one in stack.programs if one.name in SERVICES}
        with _Stopping(supervisor) as stopping, state.published(directory, stack.for_tools, of_services):
            supervisor.run(stopping.is_asked, screen.ready)
        _show("stack", "stopped")


def down() -> None:
    """End the stack that runs in the state folder, and wait until all of it is gone."""
    directory = state.directory(os.environ)
    holder = state.holder(directory)
    if holder is None:
        for name in stop_leftovers(directory):
            _show(name, "was left running by an earlier start and is stopped now")
        _show("stack", "nothing runs here")
        return
    os.kill(holder, signal.SIGTERM)
    while state.holder(directory) == holder:
        time.sleep(0.1)
    _show("stack", "stopped")


def run(name: str) -> None:
    """Become one more replica of a service of the running stack, with its settings and ports of its own."""
    settings = state.settings_of_service(state.directory(os.environ), name)
    for port in {"MRRLYTICS_HEALTH_PORT", "MRRLYTICS_PORT"} & settings.keys():
        settings[port] = str(free_port())
    del settings["MRRLYTICS_REPLICA"]
    command = [sys.executable, "-m", f"services.{name}"]
    os.execve(sys.executable, command, {**os.environ, **settings})  # noqa: S606  our own command


class _Screen:
    """The one log. The last thing it shows is the address to open."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._is_ready = False

    def show(self, name: str, line: str) -> None:
        # While nobody owns the installation, the gateway logs the one-time link that leads to setup.
        link = fields(line).get("setup_url") if name == "gateway" else None
        if link is None:
            _show(name, readable(line))
        else:
            self._address = str(link)
            if self._is_ready:
                self.ready()

    def ready(self) -> None:
        self._is_ready = True
        _show("stack", "everything is ready; Ctrl-C stops it, all data is kept")
        _show("open", self._address)


class _Stopping:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a clean stop and the second into an immediate one."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._asked = 0

    def __enter__(self) -> "_Stopping":
        for one in _STOP_SIGNALS:
            signal.signal(one, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for one in _STOP_SIGNALS:
            signal.signal(one, signal.SIG_IGN)

    def is_asked(self) -> bool:
        return self._asked > 0

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._asked += 1
        if self._asked == 1:
            _show("stack", f"stopping ({signal.Signals(number).name}); once more stops at once")
        else:
            self._supervisor.kill()


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _stop_signals_raise() -> Iterator[None]:
    """While things are prepared nothing of ours runs yet, so a stop signal just ends that."""

    def give_up(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    for one in _STOP_SIGNALS:
        signal.signal(one, give_up)
    yield


def _show(name: str, line: str) -> None:
    # A closed terminal must not keep the stack from stopping cleanly.
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{name:<{_NAME_WIDTH}} {line}\n")
        sys.stdout.flush()


def main(words: list[str]) -> int:
    """The exit code: 0 also when a signal ended the stack, 1 with a text when it cannot run."""
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

"""Start a table of programs in order, restart those that end, and stop them in reverse order."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from subprocess import Popen

from tools.local_stack.lines import Tail
from tools.local_stack.process import Program, StackError, log_tail, start, stop

_POLL_SECONDS = 0.05
_REMIND_SECONDS = 20.0
_LONGEST_PAUSE_SECONDS = 30.0
# The exit code for settings that cannot be used: another start would not help.
_EX_CONFIG = 78
_TRIES_BEFORE_FIRST_READY = 5

Show = Callable[[str, str], None]


class Supervisor:
    """The processes of a table of programs. One thread looks at all of them every 50 ms."""

    def __init__(self, programs: Sequence[Program], directory: Path, show: Show) -> None:
        self._directory = directory
        self._show = show
        self._units = {program.name: _Unit(program, directory) for program in programs}

    def run(self, is_stopping: Callable[[], bool], on_ready: Callable[[], None]) -> None:
        """Start all programs, call `on_ready` once all are ready, and keep them running until `is_stopping`; then stop all.

        Raise StackError when a step fails or a program does not become ready. All programs are stopped then, too.
        """
        was_ready = False
        try:
            while not is_stopping():
                for unit in self._units.values():
                    self._advance(unit)
                if not was_ready and all(unit.is_ready for unit in self._units.values()):
                    was_ready = True
                    on_ready()
                time.sleep(_POLL_SECONDS)
        finally:
            self._stop()

    def kill(self) -> None:
        """Kill every process, for the second Ctrl-C."""
        for _, process in self._processes(self._units.values()):
            process.kill()

    def _advance(self, unit: "_Unit") -> None:
        """Take the next step of one program: start it, or see whether it became ready or ended."""
        self._show_lines(unit)
        name, now = unit.program.name, time.monotonic()
        if unit.process is None:
            if now >= unit.not_before and all(self._units[other].is_ready for other in unit.program.after):
                self._start(unit)
            return
        if unit.is_done:
            return
        code = unit.process.poll()
        if code is not None:
            self._show_lines(unit)
            self._on_end(unit, code, now)
        elif not unit.is_ready:
            if unit.program.ready is not None and unit.program.ready():
                unit.is_ready = unit.was_ready = True
                self._show_lines(unit)  # so that its lines come before "ready"
                self._show(name, f"is ready after {now - unit.started_at:.1f} s")
            elif now - unit.reminded_at > _REMIND_SECONDS:
                unit.reminded_at = now
                self._show(name, f"is not ready after {now - unit.started_at:.0f} s; its log is {unit.log}")

    def _start(self, unit: "_Unit") -> None:
        """Start a program. When its storage had to be made again, repeat the steps that fill it."""
        if unit.program.prepare is not None and unit.program.prepare():
            self._show(unit.program.name, "has new storage, because the old one was missing")
            for other in self._units.values():
                if other.is_done and unit.program.name in other.program.after:
                    other.process, other.is_ready, other.is_done = None, False, False
        unit.process = start(unit.program, self._directory)
        unit.started_at = unit.reminded_at = time.monotonic()

    def _on_end(self, unit: "_Unit", code: int, now: float) -> None:
        name = unit.program.name
        is_step = unit.program.ready is None
        if is_step and code == 0:
            unit.is_ready = unit.was_ready = unit.is_done = True
            self._show(name, f"has finished in {now - unit.started_at:.1f} s")
            return
        unit.failures = 1 if now - unit.started_at > 60 else unit.failures + 1
        is_hopeless = code == _EX_CONFIG or unit.failures >= _TRIES_BEFORE_FIRST_READY
        if (is_step or is_hopeless) and not unit.was_ready:
            raise StackError(
                f"{name} ended with {code}. Its log, {unit.log}, ends with:\n"
                f"{log_tail(unit.program, self._directory)}"
            )
        pause = min(_LONGEST_PAUSE_SECONDS, 0.5 * 2 ** (unit.failures - 1))
        self._show(name, f"ended with {code} and starts again in {pause:g} s")
        unit.process, unit.is_ready, unit.not_before = None, False, now + pause

    def _stop(self) -> None:
        """Stop all programs, dependents first, so that a program's servers still answer while it stops."""
        left = list(self._units.values())
        while left:
            needed = {name for unit in left for name in unit.program.after}
            now = [unit for unit in left if unit.program.name not in needed]
            stop(self._processes(now))
            for unit in now:
                self._show_lines(unit)
            left = [unit for unit in left if unit not in now]

    def _show_lines(self, unit: "_Unit") -> None:
        for line in unit.tail.new_lines():
            self._show(unit.program.name, line)

    @staticmethod
    def _processes(units: Iterable["_Unit"]) -> list[tuple[Program, Popen[bytes]]]:
        return [(unit.program, unit.process) for unit in units if unit.process is not None]


class _Unit:
    """A program, its process and its state."""

    def __init__(self, program: Program, directory: Path) -> None:
        self.program = program
        self.log = directory / "log" / f"{program.name}.log"
        self.tail = Tail(self.log)
        self.process: Popen[bytes] | None = None
        self.is_ready = self.was_ready = self.is_done = False
        self.started_at = self.reminded_at = self.not_before = 0.0
        self.failures = 0

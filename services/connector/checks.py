"""Tests the connection to a WHMCS: a list of checks, each reported at once; a failed one ends the list.

The order is that of a call: find the server, connect, reach the API, log in. So a failure proves that all checks before it have passed.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from libs.common.clock import Clock
from libs.common.contracts.billing import Kind
from libs.common.contracts.failures import FAILURES, NOISE, text_of, text_of_missing
from libs.common.contracts.instances import InstanceSettings
from libs.common.contracts.sync import Check, Estimate, InstanceChecked
from libs.common.errors import NeedsOperator
from services.connector.changes import UnreadableRow
from services.connector.credentials import Credentials
from services.connector.settings import Settings
from services.connector.whmcs import answers
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.client import Client, describe
from services.connector.whmcs.entities import (
    LIST_OF,
    LISTS,
    PERMISSIONS,
    VERSION_ACTION,
    ListAction,
    Permission,
)
from services.connector.whmcs.masking import Mask
from services.connector.whmcs.translate import translate_row

Report = Callable[[InstanceChecked], Awaitable[None]]
CheckState = Literal["ok", "warning", "failed"]

CHECK_SECONDS: Final = 18.0
_CONNECT_SECONDS: Final = 5.0
_OPTIONAL_SECONDS: Final = 4.0
_CALLS_AT_ONCE: Final = 4
_SAMPLE_ROWS: Final = 25
_OLDEST_VERSION: Final = (8, 0)
_ROWS_PER_MINUTE: Final = 15_000
_CLOCK_MINUTES: Final = 5
# The check that a failure belongs to. All other failures belong to "api".
_CHECK_BY_CODE: Final = {
    "dns_not_found": "address",
    "dns_timeout": "address",
    "address_not_allowed": "address",
    "connect_refused": "address",
    "unreachable": "address",
    "connect_timeout": "address",
    "tls_certificate": "tls",
    "tls_version": "tls",
    "credentials_rejected": "credentials",
    "admin_missing": "credentials",
    "ip_not_allowed": "ip",
    "ip_banned": "ip",
}
# The checks that have passed when this one fails. WHMCS may test credentials and address in either order.
_PASSED_BEFORE: Final = {
    "address": (),
    "tls": ("address",),
    "api": ("address", "tls"),
    "credentials": ("address", "tls", "api"),
    "ip": ("address", "tls", "api"),
}
_PASSED: Final = {
    "address": "The server was found and may be reached.",
    "tls": "The connection is encrypted and the certificate is valid.",
    "api": "The WHMCS API answers.",
    "credentials": "WHMCS accepts the identifier and secret.",
    "ip": "WHMCS allows our address.",
}
_REDIRECTS: Final = frozenset({"redirected", "redirected_inside"})
_ELSEWHERE: Final = _REDIRECTS | {"not_whmcs_api"}
_VERSION_LENGTH: Final = 40
_VERSION: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_ABOUT_ACTION: Final = frozenset({"permission_missing", "action_unsupported"})


@dataclass(slots=True)
class _Checklist:
    """The results so far, and the facts about the WHMCS that they showed."""

    check_id: UUID
    report: Report
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

    async def add_passed(self, *names: str) -> None:
        await self.add(*(Check(name=name, state="ok", message=_PASSED[name]) for name in names))

    async def add_error(
        self, name: str, error: WhmcsError, state: CheckState = "failed", action: str | None = None
    ) -> None:
        code = error.code if error.code in FAILURES else "bad_response"
        values = {**describe(self.url, self.settings), "action": error.action, "detail": error.detail}
        is_missing = code == "permission_missing"
        message = text_of_missing(error.action) if is_missing else text_of(code, **values)
        await self.add(
            Check(
                name=name,
                state=state,
                code=code,
                message=message,
                action=action,
                detail=error.detail or None,
            )
        )

    async def send(self, *, complete: bool) -> None:
        await self.report(
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
    report: Report,
) -> None:
    """Do all checks within 18 seconds. `report` gets the list after each of them, and the complete one at the end."""
    checklist = _Checklist(check_id, report, settings)
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            opened = await credentials()
            checklist.url = opened.base_url
            async with Client(
                settings, opened, connect_seconds=_CONNECT_SECONDS, has_answered=opened.has_answered
            ) as client:
                await _check(client, checklist, clock)
    except NeedsOperator as error:
        await checklist.add_error("credentials", WhmcsError(error.code, "", error.message))
    except TimeoutError:
        text = (
            f"WHMCS did not answer all checks within {CHECK_SECONDS:g} s. Save again. "
            "If that does not help, ask your host whether the server is overloaded."
        )
        await checklist.add(Check(name="api", state="failed", code="read_timeout", message=text))
    await checklist.send(complete=True)


def unfinished(check_id: UUID) -> InstanceChecked:
    """Return the result of a check that was attempted several times and never ended."""
    text = (
        "The check could not be finished: something went wrong on our side. Check the connection again. "
        "If that does not help, ask the person who runs MRRlytics to look at its logs."
    )
    check = Check(name="api", state="failed", code="run_timeout", message=text)
    return InstanceChecked(check_id=check_id, complete=True, checks=(check,))


async def _check(client: Client, checklist: _Checklist, clock: Clock) -> None:
    try:
        version = await _find_api(client, checklist)
    except WhmcsError as error:
        name = _CHECK_BY_CODE.get(error.code, "api")
        if error.code == "ip_not_allowed":
            checklist.seen_address = error.detail
        await checklist.add_passed(*_PASSED_BEFORE[name])
        await checklist.add_error(name, error)
        return
    await checklist.add_passed(*_PASSED)
    if not await _check_version(version, checklist, client.mask):
        return
    totals = await _check_permissions(client, checklist)
    if client.noisy_answers:
        await checklist.add(Check(name="api", state="warning", message=NOISE))
    if any(check.state == "failed" for check in checklist.checks):
        return
    await checklist.add(_check_clock(client.server_time, clock()))
    await _check_sample(client, checklist)
    await _estimate(sum(totals.get(action.action, 0) for action in LISTS), checklist)


async def _find_api(client: Client, checklist: _Checklist) -> Row | WhmcsError:
    """Look for the API in the folder that was entered, then in those above it; return its answer about the version.

    The answer is a WhmcsError when WHMCS refuses only this action, because that proves the address and the credentials as well.
    """
    failures: list[WhmcsError] = []
    for url in candidates(client.base_url):
        try:
            client.base_url = url
            answer: Row | WhmcsError = (await client.call(VERSION_ACTION)).body
        except WhmcsError as error:
            if error.code in _ELSEWHERE:
                failures.append(error)
                continue
            if not error.is_granted and error.code not in _ABOUT_ACTION:
                raise
            answer = error
        checklist.url = checklist.base_url = url
        return answer
    # A redirect says more than the missing pages of other folders.
    raise min(failures, key=lambda error: error.code not in _REDIRECTS)


def candidates(url: str) -> list[str]:
    """Return the folder of `url` and all above it, on the same origin."""
    parts = urlsplit(url)
    folders = [part for part in parts.path.split("/") if part]
    return [
        urlunsplit((parts.scheme, parts.netloc, "".join(f"/{part}" for part in folders[:count]), "", ""))
        for count in range(len(folders), -1, -1)
    ]


async def _check_version(answer: Row | WhmcsError, checklist: _Checklist, mask: Mask) -> bool:
    """Add the version; return whether MRRlytics supports it. If WHMCS does not tell its version, add a warning and return true."""
    if isinstance(answer, WhmcsError):
        await checklist.add_error("version", answer, "warning", VERSION_ACTION)
        return True
    version = mask(_version_in(answer))[:_VERSION_LENGTH]
    checklist.version = version or None
    numbers = _VERSION.match(version)
    if numbers and tuple(map(int, numbers.groups())) < _OLDEST_VERSION:
        await checklist.add_error("version", WhmcsError("version_unsupported", VERSION_ACTION, version))
        return False
    text = f"WHMCS {version or 'of unknown version'}."
    await checklist.add(Check(name="version", state="ok", message=text))
    return True


def _version_in(answer: Row) -> str:
    whmcs = answer.get("whmcs")
    version = str(whmcs.get("version", "")) if isinstance(whmcs, dict) else ""
    return "".join(character for character in version if character.isprintable())


async def _check_permissions(client: Client, checklist: _Checklist) -> dict[str, int]:
    """Call each action once, and return the sizes of the lists by action.

    An action is allowed unless WHMCS refuses the action, the role, the address or the credentials. A needed action that is not allowed
    is a failure, an optional one a warning. Needed actions come first, in case the time runs out.
    """
    slots = asyncio.Semaphore(_CALLS_AT_ONCE)
    totals: dict[str, int] = {}

    async def ask(permission: Permission) -> None:
        action = permission.action
        async with slots:
            try:
                totals[action] = await _total(client, permission)
            except WhmcsError as error:
                if not error.is_granted:
                    state: CheckState = "failed" if permission.is_needed else "warning"
                    await checklist.add_error("permission", error, state, action)
                    return
            text = f"{action} is allowed."
            await checklist.add(Check(name="permission", state="ok", message=text, action=action))

    await asyncio.gather(*map(ask, PERMISSIONS))
    return totals


async def _total(client: Client, permission: Permission) -> int:
    """Call an action, and return how many rows it has.

    An optional one that takes long, as a log of a million entries may, must not fail the whole check.
    """
    try:
        async with asyncio.timeout(None if permission.is_needed else _OPTIONAL_SECONDS):
            answer = await client.call(permission.action, permission.parameters)
            return answers.total(answer.body) or 0
    except TimeoutError:
        raise WhmcsError("read_timeout", permission.action, f"{_OPTIONAL_SECONDS:g}") from None


def _check_clock(server: datetime | None, now: datetime) -> Check:
    """Compare the Date header of an answer with our time."""
    if server is None:
        text = "The server does not tell its time, so we could not compare its clock with ours."
        return Check(name="clock", state="warning", message=text)
    minutes = abs((server - now).total_seconds()) / 60
    if minutes > _CLOCK_MINUTES:
        text = f"The clock of the server differs by {minutes:.0f} min from ours. Set it by NTP."
        return Check(name="clock", state="warning", message=text)
    return Check(name="clock", state="ok", message="The clock of the server is right.")


async def _check_sample(client: Client, checklist: _Checklist) -> None:
    """Read some services as a sync would."""
    action = LIST_OF[Kind.SERVICE]
    try:
        answer = await client.call(action.action, {"limitstart": 0, "limitnum": _SAMPLE_ROWS})
        rows = answers.rows(answer.body, action.plural, action.singular)
    except WhmcsError as error:
        # If WHMCS itself refused, only services are missing from the first sync, which reports that. So a warning is enough.
        await checklist.add_error("sample", error, "warning" if error.is_granted else "failed")
        return
    bad = sum(not _is_readable(action, row) for row in rows)
    if bad:
        text = f"We cannot read {bad} of {len(rows)} services. Each sync skips them and lists them."
        await checklist.add(Check(name="sample", state="warning", code="bad_response", message=text))
    else:
        text = f"We read {len(rows)} services as a sample."
        await checklist.add(Check(name="sample", state="ok", message=text))


def _is_readable(action: ListAction, row: Row) -> bool:
    try:
        translate_row(action, row, InstanceSettings())
    except UnreadableRow:
        return False
    return True


async def _estimate(rows: int, checklist: _Checklist) -> None:
    """Add how long the first sync will take, by the totals of all lists."""
    minutes = max(1, round(rows / _ROWS_PER_MINUTE))
    checklist.estimate = Estimate(rows=rows, minutes=minutes)
    text = f"The first sync reads about {rows:,} records. It takes about {minutes} min."
    await checklist.add(Check(name="estimate", state="ok", message=text))

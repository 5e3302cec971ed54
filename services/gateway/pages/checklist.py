"""A connection test in words: what passed, what failed, and what that means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.common.contracts.failures import OPTIONAL
from libs.common.contracts.sync import Check
from services.gateway.instances.checks import CheckProgress

_TITLES: Final = {
    "address": "Address of the server",
    "tls": "Secure connection (TLS)",
    "api": "WHMCS API",
    "credentials": "API credentials",
    "ip": "Allowed IP address",
    "version": "WHMCS version",
    "clock": "Clock of the server",
    "sample": "Sample of records",
    "estimate": "Number of records",
    "answer": "Answer of the test",
}
_WORDS: Final = {"ok": ("Passed", "good"), "warning": ("Warning", "warn"), "failed": ("Failed", "bad")}
_ORDER: Final = ("failed", "warning", "ok")


@dataclass(frozen=True, slots=True)
class Line:
    """One check. `code` names its failure for those who look for help, and `detail` is what WHMCS said.

    `new_address` is where WHMCS redirects to.
    """

    title: str
    word: str
    level: str
    message: str
    code: str | None
    detail: str | None
    new_address: str | None


@dataclass(frozen=True, slots=True)
class Checklist:
    """A test as a page shows it: a notice, the lines to look at, and those that passed once the test is over.

    `optional` are permissions that the role lacks and that only improve some figures; each line says what is missing without it.
    `asks_to_change`: something failed, so a person should change the connection or test it again.
    """

    headline: str
    sentence: str
    level: str
    lines: tuple[Line, ...]
    optional: tuple[Line, ...]
    passed: tuple[Line, ...]
    asks_to_change: bool


def checklist_of(check: CheckProgress, *, is_connected: bool) -> Checklist:
    """Return the test in words. `is_connected`: the instance has credentials that worked before."""
    if not check.complete:
        return Checklist(
            "Testing the connection.",
            "The results appear here one by one.",
            "running",
            tuple(_line(line) for line in check.checks),
            (),
            (),
            asks_to_change=False,
        )
    failed = [line for line in check.checks if line.state == "failed"]
    optional = [line for line in check.checks if line.state == "warning" and line.action in OPTIONAL]
    others = [line for line in check.checks if line.state != "ok" and line not in optional]
    lines = sorted(others, key=lambda line: _ORDER.index(line.state))
    return Checklist(
        _headline(failed, check, is_connected=is_connected),
        _sentence(failed, check, is_connected=is_connected),
        "bad" if failed else "good",
        tuple(_line(line) for line in lines),
        tuple(_line(line) for line in optional),
        tuple(_line(line) for line in check.checks if line.state == "ok"),
        asks_to_change=bool(failed),
    )


def _headline(failed: Sequence[Check], check: CheckProgress, *, is_connected: bool) -> str:
    if not failed:
        return "Connected."
    if not is_connected:
        return "Not connected."
    return "The new connection is not used." if check.is_new_credential else "The connection test failed."


def _sentence(failed: Sequence[Check], check: CheckProgress, *, is_connected: bool) -> str:
    if not failed:
        return "WHMCS answers, and every required check passed."
    text = f"{len(failed)} of {len(check.checks)} checks failed: {_names(failed)}."
    return f"{text} The stored credentials stay in use." if is_connected else text


def _names(failed: Sequence[Check]) -> str:
    """Return the titles of the checks; several permissions are one list."""
    titles = [_title(line) for line in failed if line.name != "permission"]
    actions = [line.action or "" for line in failed if line.name == "permission"]
    if actions:
        titles.append(f"{'permission' if len(actions) == 1 else 'permissions'} {', '.join(actions)}")
    return ", ".join(titles)


def _line(line: Check) -> Line:
    word, level = _WORDS[line.state]
    is_redirect = line.code == "redirected" and (line.detail or "").startswith("https://")
    new_address = line.detail if is_redirect else None
    return Line(_title(line), word, level, line.message, line.code, line.detail, new_address)


def _title(line: Check) -> str:
    if line.name == "permission":
        return f"Permission {line.action}"
    return _TITLES.get(line.name, line.name.capitalize())

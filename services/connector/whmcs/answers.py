"""Reads the answers of a WHMCS, in all the shapes that live installations send. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from libs.common.contracts.failures import FAILURES
from libs.common.errors import MRRlyticsError

Row = dict[str, Any]

_FLAT_KEY: Final = re.compile(r"(\w+)\[(\w+)\]\[(\d+)\]\[(\w+)\]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
_TAGS: Final = re.compile(r"<[^>]*>")
_MESSAGES: Final = (
    ("authentication failed", "credentials_rejected"),
    ("invalid or missing credentials", "credentials_rejected"),
    ("invalid password provided", "credentials_rejected"),
    ("administrator account disabled", "credentials_rejected"),
    ("access denied", "permission_missing"),
    ("invalid permissions", "permission_missing"),
    ("invalid ip", "ip_not_allowed"),
    ("forbidden ip", "ip_not_allowed"),
    ("invalid api action", "action_unsupported"),
    ("api function not found", "action_unsupported"),
    ("empty action request", "not_whmcs_api"),
    ("client not found", "not_found"),
    ("client id not found", "not_found"),
    ("invoice id not found", "not_found"),
)
_ADDRESS: Final = re.compile(r"(?:invalid|forbidden) ip\s*:?\s*([0-9a-f.:]+)", re.IGNORECASE)
_MAINTENANCE: Final = re.compile(rb"down for maintenance|maintenance mode", re.IGNORECASE)
_CHALLENGE: Final = re.compile(
    rb"just a moment|mod_security|attention required|access denied|cf-chl|captcha", re.IGNORECASE
)


class WhmcsError(MRRlyticsError):
    """A call that failed. `code` is one of contracts/failures.py, or `not_found`; `detail` is safe to show.

    `is_about_rows` marks failures that a smaller page may avoid. `is_granted` marks refusals by WHMCS itself which prove that address,
    credentials and role allow the action.
    """

    def __init__(
        self,
        code: str,
        action: str,
        detail: str = "",
        *,
        is_about_rows: bool = False,
        is_granted: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.action = action
        self.detail = _CONTROL.sub(" ", detail)[:200]
        self.is_about_rows = is_about_rows
        self.is_granted = is_granted
        self.retry_after = retry_after

    @property
    def is_transient(self) -> bool:
        """Return whether the same call may work later in the same run."""
        failure = FAILURES.get(self.code)
        return failure is not None and (
            failure.retry == "soon" or self.code in ("bad_response", "dns_not_found")
        )


def read(status: int, headers: Mapping[str, str], content: bytes, action: str) -> Row:
    """Return the body of a good answer; raise WhmcsError. The body counts more than the status, which proxies may change."""
    body = _json(content)
    if body is not None:
        if _result(body) == "success":
            return body
        raise _refusal(status, body, action)
    if message := _name_value_message(content):
        raise _refusal(status, {"message": message}, action)
    raise _not_json(status, headers, content, action)


def _json(content: bytes) -> Row | None:
    """Return the JSON object in the content, also behind a byte order mark or a PHP warning; None without one."""
    for start in (0, content.find(b'{"')):
        if start >= 0:
            try:
                body = orjson.loads(content[start:])
            except orjson.JSONDecodeError:
                continue
            if isinstance(body, dict):
                return body
    return None


def _result(body: Row) -> str:
    """Return "success", "error", or "" when the object is not an answer of WHMCS."""
    result = str(body.get("result", body.get("status", ""))).lower()
    return result if result in ("success", "error") else ""


def _is_of_whmcs(status: int, body: Row) -> bool:
    """Return whether WHMCS wrote the answer. Its older key `status` counts with HTTP 200 only: errors of many other programs have it."""
    return bool(_result(body)) and ("result" in body or status == 200)


def _refusal(status: int, body: Row, action: str) -> WhmcsError:
    message = _TAGS.sub("", str(body.get("message") or "an error without a message"))
    lowered = message.lower()
    for start, code in _MESSAGES:
        if lowered.startswith(start):
            seen = _ADDRESS.search(message)
            detail = seen.group(1) if seen and code == "ip_not_allowed" else message
            return WhmcsError(
                code, action, detail, is_granted=code == "not_found" and _is_of_whmcs(status, body)
            )
    # WHMCS checks address, credentials and role before it runs the action, so an error of the action itself proves that all three are
    # right. WHMCS refuses those with 401 or 403. A refusal in words that are not listed above must not count as an error of the action.
    is_granted = _is_of_whmcs(status, body) and status not in (401, 403)
    return WhmcsError("bad_response", action, message, is_granted=is_granted)


def _name_value_message(content: bytes) -> str | None:
    if content.startswith(b"result=error"):
        return content.partition(b"message=")[2].decode("utf-8", "replace").split(";")[0]
    return None


def _not_json(status: int, headers: Mapping[str, str], content: bytes, action: str) -> WhmcsError:
    if 300 <= status < 400:
        return WhmcsError("redirected", action, headers.get("location", "another address"))
    if _MAINTENANCE.search(content[:4096]):
        return WhmcsError("maintenance", action, str(status))
    if status in (403, 406, 503) and (
        "cf-mitigated" in headers or _CHALLENGE.search(content[:4096]) or status != 503
    ):
        return WhmcsError("blocked_by_firewall", action, str(status))
    if status == 429 or status >= 500:
        return WhmcsError(
            "server_error",
            action,
            str(status),
            is_about_rows=True,
            retry_after=_seconds(headers.get("retry-after")),
        )
    looks_like_json = content.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"{")
    if status == 200 and (not content or looks_like_json):
        return WhmcsError("bad_response", action, "cut off" if content else "empty", is_about_rows=True)
    return WhmcsError("not_whmcs_api", action, str(status))


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None


def rows(body: Row, plural: str, singular: str) -> list[Row]:
    """Return the rows of a list answer, whatever its shape.

    The shape is a nested list, a lone object for a list of one, an object with numeric keys, the flattened keys of old answers, or one
    of many signs of an empty list: "", [], {}, a missing key. Raise WhmcsError for anything else.
    """
    outer = body.get(plural)
    inner = outer.get(singular, outer) if isinstance(outer, dict) else outer
    items: list[Any]
    if isinstance(inner, list):
        items = inner
    elif isinstance(inner, dict) and inner:
        is_numbered = all(key.isdigit() for key in inner)
        items = list(inner.values()) if is_numbered else [inner]
    elif outer is None:
        items = _flattened(body, plural, singular)
    else:
        items = []
    if not all(isinstance(item, dict) for item in items):
        raise WhmcsError("bad_response", plural, f"{plural} contains something else than rows")
    return items


def _flattened(body: Row, plural: str, singular: str) -> list[Row]:
    rows: dict[int, Row] = {}
    for key, value in body.items():
        match = _FLAT_KEY.fullmatch(key)
        if match and match.group(1) == plural and match.group(2) == singular:
            rows.setdefault(int(match.group(3)), {})[match.group(4)] = value
    return [rows[index] for index in sorted(rows)]


def total(body: Row) -> int | None:
    """Return `totalresults`, a number or a string of digits; None when it is missing."""
    value = body.get("totalresults")
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None

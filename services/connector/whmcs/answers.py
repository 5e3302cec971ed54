"""Tells what an answer is: rows of WHMCS, its refusal, or the work of something in front of it. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin

from libs.common.addresses import normalise_url
from libs.common.contracts.failures import FAILURES
from libs.common.errors import MRRlyticsError, Permanent
from services.connector.memory import Hold
from services.connector.whmcs.masking import Mask
from services.connector.whmcs.objects import RefusedError, Row, find_object

__all__ = ["Call", "Response", "Row", "WhmcsAnswer", "WhmcsError", "read", "rows", "total"]

_FLAT_KEY: Final = re.compile(r"(\w+)\[(\w+)\]\[(\d{1,9})\]\[(\w+)\]", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
# Without "<" among the excluded characters, a text of many "<" would take quadratic time.
_TAGS: Final = re.compile(r"<[^<>]*>")
_MESSAGE_LENGTH: Final = 4_000
_MESSAGES: Final = (
    ("authentication failed", "credentials_rejected"),
    ("invalid or missing credentials", "credentials_rejected"),
    ("invalid password provided", "credentials_rejected"),
    ("administrator account disabled", "credentials_rejected"),
    ("an admin user is required", "admin_missing"),
    ("access denied", "permission_missing"),
    ("invalid permissions", "permission_missing"),
    ("invalid ip", "ip_not_allowed"),
    ("forbidden ip", "ip_not_allowed"),
    ("ip banned", "ip_banned"),
    ("invalid api action", "action_unsupported"),
    ("api function not found", "action_unsupported"),
    ("empty action request", "not_whmcs_api"),
    ("client not found", "not_found"),
    ("client id not found", "not_found"),
    ("invoice id not found", "not_found"),
)
_ADDRESS: Final = re.compile(r"(?:invalid|forbidden) ip\s*:?\s*([0-9a-f.:]+)", re.IGNORECASE)
_MAINTENANCE: Final = re.compile(rb"down for maintenance|maintenance mode", re.IGNORECASE)
_BANNED: Final = re.compile(rb"\bip (?:address )?(?:is |has been )?banned\b|\bbanned ip\b", re.IGNORECASE)
_CHALLENGE: Final = re.compile(
    rb"just a moment|mod_security|attention required|access denied|cf-chl|captcha", re.IGNORECASE
)
_BEGINNING: Final = 4096
_TOTAL: Final = re.compile(r"[0-9]{1,12}")
_MAX_WAIT_SECONDS: Final = 86_400.0
_PHP_EMPTY: Final = (None, "", "0", 0, False)


class WhmcsError(MRRlyticsError):
    """A call that failed. `code` is one of contracts/failures.py, or `not_found`; `detail` is safe to show.

    `is_about_rows` marks failures that a smaller page may avoid, and `is_of_whmcs` refusals by WHMCS itself. `is_granted` marks those of
    them which prove that address, credentials and role allow the action.
    """

    def __init__(
        self,
        code: str,
        action: str,
        detail: str = "",
        *,
        is_about_rows: bool = False,
        is_of_whmcs: bool = False,
        is_granted: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.action = action
        self.detail = _CONTROL.sub(" ", detail)[:200]
        self.is_about_rows = is_about_rows
        self.is_of_whmcs = is_of_whmcs
        self.is_granted = is_granted
        self.retry_after = retry_after

    @property
    def is_transient(self) -> bool:
        """Return whether the same call may work later in the same run."""
        failure = FAILURES.get(self.code)
        return failure is not None and (
            failure.retry == "soon" or self.code in ("bad_response", "dns_not_found")
        )


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response. The names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytearray


@dataclass(frozen=True, slots=True)
class Call:
    """What an answer is judged by: the call, and whether WHMCS has answered under this address before.

    If it has, a foreign answer is a fault that may pass. If not, the address may be wrong.
    """

    action: str
    url: str = ""
    has_answered: bool = False
    mask: Mask = str

    def error(self, code: str, detail: str = "", **more: Any) -> WhmcsError:
        """Return the failure of this call. All text from outside passes here, so no failure shows a part of the credential."""
        return WhmcsError(code, self.action, self.mask(_CONTROL.sub(" ", detail)), **more)


@dataclass(frozen=True, slots=True)
class WhmcsAnswer:
    """The body of a good answer. `has_noise`: the site wrote something around it. `hold`: its memory, to be kept with its rows."""

    body: Row
    has_noise: bool = False
    hold: Hold | None = None


def read(response: Response, call: Call) -> WhmcsAnswer:
    """Return a good answer; raise WhmcsError. The body counts more than the status, which proxies may change."""
    try:
        match = find_object(response.content, lambda body: _is_of_whmcs(response.status, body))
    except RefusedError as error:
        raise call.error("bad_response", str(error), is_about_rows=True) from None
    if match.body is not None and match.is_envelope:
        if _result(match.body) == "success":
            return WhmcsAnswer(match.body, match.has_noise)
        raise _refusal(response, match.body, call)
    if message := _name_value_message(response.content):
        raise _refusal(response, {"message": message}, call)
    raise _foreign(response, match.body, call, is_cut_off=match.is_cut_off)


def _result(body: Row) -> str:
    """Return "success", "error", or "" when the object is not an answer of WHMCS."""
    result = str(body.get("result", body.get("status", ""))).lower()
    return result if result in ("success", "error") else ""


def _is_of_whmcs(status: int, body: Row) -> bool:
    """Return whether WHMCS wrote the answer. Its older key `status` counts with HTTP 200 only: errors of many other programs have it."""
    return bool(_result(body)) and ("result" in body or status == 200)


def _refusal(response: Response, body: Row, call: Call) -> WhmcsError:
    if response.status == 429:
        return _too_many(response, call)
    message = _TAGS.sub("", str(body.get("message") or "an error without a message")).strip()[
        :_MESSAGE_LENGTH
    ]
    is_of_whmcs = _is_of_whmcs(response.status, body)
    code = next((code for start, code in _MESSAGES if message.lower().startswith(start)), "bad_response")
    if code == "ip_not_allowed" and (seen := _ADDRESS.search(message)):
        message = seen.group(1)
    if code == "not_whmcs_api" and call.has_answered:
        code = "bad_response"  # something on the way dropped the form, but the address is right
    # WHMCS checks address, credentials and role before it runs the action, so an error of the action itself proves that all three are
    # right. WHMCS refuses those with 401 or 403. A refusal in words that are not listed above must not count as an error of the action.
    is_granted = code == "not_found" or (code == "bad_response" and response.status not in (401, 403))
    return call.error(code, message, is_of_whmcs=is_of_whmcs, is_granted=is_of_whmcs and is_granted)


def _name_value_message(content: bytearray) -> str | None:
    if content.startswith(b"result=error"):
        return content.partition(b"message=")[2].decode("utf-8", "replace").split(";")[0]
    return None


def _foreign(response: Response, body: Row | None, call: Call, *, is_cut_off: bool) -> WhmcsError:
    """Return the failure for an answer that is not of WHMCS, or not whole."""
    status, headers, beginning = response.status, response.headers, bytes(response.content[:_BEGINNING])
    retry_after = _seconds(headers.get("retry-after"))
    if 300 <= status < 400:
        return _redirect(response, call)
    if status == 429:
        return _too_many(response, call)
    if status == 401 and "www-authenticate" in headers:
        return call.error("password_required")
    if _BANNED.search(beginning):
        return call.error("ip_banned")
    if _MAINTENANCE.search(beginning):
        return call.error("maintenance", str(status), retry_after=retry_after)
    if _is_of_firewall(response, body, beginning):
        return call.error("blocked_by_firewall", str(status))
    if status >= 500 or status == 408:
        return call.error("server_error", str(status), is_about_rows=True, retry_after=retry_after)
    if status == 200 and (is_cut_off or not response.content):
        return call.error(
            "bad_response", "it is cut off or damaged" if is_cut_off else "it is empty", is_about_rows=True
        )
    return _unknown(str(status), call)


def _is_of_firewall(response: Response, body: Row | None, beginning: bytes) -> bool:
    """Return whether a firewall wrote the answer: a page that refuses or tests for a browser, or an object with a message."""
    status = response.status
    if "cf-mitigated" in response.headers or status in (401, 403, 406):
        return True
    if body is not None:
        return "message" in body and status < 500 and status not in (404, 405)
    return status in (415, 503) and _CHALLENGE.search(beginning) is not None


def _too_many(response: Response, call: Call) -> WhmcsError:
    return call.error("rate_limited", retry_after=_seconds(response.headers.get("retry-after")))


def _unknown(detail: str, call: Call) -> WhmcsError:
    """Return the failure for a page of something else. Where WHMCS has answered before, it may be the page of a broken database."""
    if call.has_answered:
        return call.error("server_error", detail, is_about_rows=True)
    return call.error("not_whmcs_api", detail)


def _redirect(response: Response, call: Call) -> WhmcsError:
    """Return where WHMCS may be. A redirect to a page of the same folder, such as its login, leads nowhere else."""
    target = response.headers.get("location", "")
    if "/banned.php" in target:
        return call.error("ip_banned")
    try:
        target = urljoin(f"{call.url}/includes/api.php", target)
        if target.lower().startswith("http://"):
            target = f"https{target[4:]}"
        address = normalise_url(target)
    except (Permanent, ValueError):
        return _unknown(str(response.status), call)
    if address == call.url:
        return _unknown(str(response.status), call)
    return call.error("redirected", address)


def _seconds(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header; None for a date, which would need a common clock."""
    if text is None or not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return None
    return min(float(text), _MAX_WAIT_SECONDS)


def rows(body: Row, plural: str, singular: str) -> list[Row]:
    """Return the rows of a list answer, whatever its shape.

    The shape is a nested list, a lone object for a list of one, an object with numeric keys, the flattened keys of old answers, or one
    of many signs of an empty list: "", [], {}, a missing key. Something else than an object in a list becomes an empty row, so that it is
    counted as unreadable and the other rows are read. Raise WhmcsError for any other shape.
    """
    outer = body.get(plural)
    inner = outer.get(singular, outer) if isinstance(outer, dict) else outer
    if isinstance(inner, list):
        return [item if isinstance(item, dict) else {} for item in inner]
    if isinstance(inner, dict):
        is_numbered = all(key.isdecimal() for key in inner)
        items = list(inner.values()) if is_numbered else [inner]
        return [item if isinstance(item, dict) else {} for item in items]
    if outer is None:
        return _flattened(body, plural, singular)
    if inner not in _PHP_EMPTY:
        raise WhmcsError("bad_response", plural, f"{plural} is not a list")
    return []


def _flattened(body: Row, plural: str, singular: str) -> list[Row]:
    rows: dict[int, Row] = {}
    for key, value in body.items():
        match = _FLAT_KEY.fullmatch(key)
        if match and match.group(1) == plural and match.group(2) == singular:
            rows.setdefault(int(match.group(3)), {})[match.group(4)] = value
    return [rows[index] for index in sorted(rows)]


def total(body: Row) -> int | None:
    """Return `totalresults`, a number or a string of digits; None when it is missing or no count of rows."""
    value = body.get("totalresults")
    # int() also reads "1_0", "٣" and True.
    text = str(value) if type(value) is int else value.strip() if type(value) is str else ""
    return int(text) if _TOTAL.fullmatch(text) else None

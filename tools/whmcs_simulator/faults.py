"""Faults of a WHMCS: answers of something in front of it, damaged answers, and failing connections."""

import copy
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Fault:
    """A fault. It strikes calls of `action` (None: every action) after the first `after` calls, `count` times (None:
    always), each call with `probability`."""

    kind: str
    action: str | None = None
    value: Any = None
    after: int = 0
    count: int | None = None
    probability: float = 1.0

    def number(self, otherwise: float) -> float:
        return otherwise if self.value is None else float(self.value)


@dataclass(slots=True)
class Faults:
    """The faults in force. Only the seed and the calls decide which strike."""

    seed: int
    in_force: list[Fault] = field(default_factory=list)
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311 - repeatable on purpose

    def replace(self, faults: Iterable[dict[str, Any]]) -> None:
        """Replace the faults in force. Raise ValueError that says what was wrong."""
        new = []
        for given in faults:
            fields = {name.replace("-", "_") for name in given}
            unknown = fields - set(Fault.__slots__)
            if unknown or "kind" not in given:
                raise ValueError(f"a fault has the fields {', '.join(Fault.__slots__)}; got {sorted(fields)}")
            if given["kind"] not in KINDS:
                raise ValueError(
                    f"no fault is called {given['kind']!r}; there are {', '.join(sorted(KINDS))}"
                )
            new.append(Fault(**given))
            if new[-1].value is not None and new[-1].kind in CONNECTION:
                new[-1].number(0)
        self.in_force = new
        self.dice.seed(self.seed)

    def striking(self, action: str) -> list[Fault]:
        """Return the faults that strike this call, in their order, and count the call."""
        return [fault for fault in self.in_force if self._strikes(fault, action)]

    def _strikes(self, fault: Fault, action: str) -> bool:
        if fault.action and fault.action.lower() != action.lower():
            return False
        if fault.after > 0:
            fault.after -= 1
            return False
        if fault.count == 0 or self.dice.random() >= fault.probability:
            return False
        if fault.count is not None:
            fault.count -= 1
        return True


def _error(message: str, status: int = 403) -> Reply:
    return Reply(status, b'{"result":"error","message":"%s"}' % message.encode())


def _html(status: int, text: str, *headers: tuple[str, str]) -> Reply:
    return Reply(status, text.encode(), "text/html", headers)


def _status(status: int, body: str | None = None) -> Reply:
    return _html(status, f"<html><body><h1>{status}</h1></body></html>" if body is None else body)


_NOT_FOUND: Final = "<!DOCTYPE html><html><body>Page not found</body></html>"
NOT_FOUND: Final = _html(404, _NOT_FOUND)
OOPS: Final = _html(
    500,
    "<!DOCTYPE html><html><head><title>Oops!</title></head><body><h1>Oops!</h1>"
    "<p>Something went wrong and we couldn't process your request.</p>"
    "<p>Laminas\\HttpHandlerRunner\\Exception\\EmitterException: Output has been emitted previously; "
    "cannot emit response</p></body></html>",
)
PHP_WARNING: Final = (
    b"<br />\n<b>Warning</b>:  Undefined variable $x in <b>hooks.php</b> on line <b>12</b><br />\n"
)

# Replies that replace the answer, from the value of the fault and the action of the call.
REPLIES: Final[dict[str, Callable[[Any, str], Reply]]] = {
    "status": lambda value, _: _status(**(value if isinstance(value, dict) else {"status": value or 503})),
    "empty": lambda value, _: _html(int(value or 200), ""),
    "not_json": lambda value, _: _html(200, str(value or "<!DOCTYPE html><html><body>Welcome</body></html>")),
    "not_found": lambda _, __: NOT_FOUND,
    "redirect": lambda value, _: Reply(
        302, b"", "text/html", (("location", str(value or "https://billing.example.com/includes/api.php")),)
    ),
    "invalid_ip": lambda value, _: _error(f"Invalid IP {value or '203.0.113.9'}"),
    "forbidden_ip": lambda value, _: _error(f"Forbidden IP {value or '198.51.100.46'}"),
    "invalid_ip_as_text": lambda value, _: _html(
        403, f"result=error;message=Invalid IP {value or '203.0.113.9'}"
    ),
    "permission": lambda _, action: _error(
        f"Invalid Permissions: API action \\u0022{action.lower()}\\u0022 is not allowed"
    ),
    "access_denied": lambda _, __: _error("Access Denied"),
    "unknown_action": lambda _, action: _error(
        f'Invalid API Action: \\"{action.lower()}\\" is not a valid API action'
    ),
    "missing_function": lambda _, __: _error("API Function Not Found", 200),
    "empty_action": lambda _, __: _error("Empty action request", 400),
    "secret_rejected": lambda _, __: _error("Authentication Failed"),
    "identifier_rejected": lambda _, __: _error("Invalid or missing credentials"),
    "password_rejected": lambda _, __: _error("Invalid password provided"),
    "admin_disabled": lambda _, __: _error("Administrator Account Disabled"),
    "business_error": lambda value, _: _error(str(value or "Client Not Found"), 200),
    "error_in_status": lambda value, _: Reply(
        200, b'{"status":"error","message":"%s"}' % str(value or "Client Not Found").encode()
    ),
    "error_without_message": lambda _, __: Reply(200, b'{"result":"error"}'),
    "too_many_requests": lambda value, _: _html(
        429, "Too Many Requests", ("retry-after", str(value if value is not None else 1))
    ),
    "maintenance": lambda value, _: _html(
        int(value or 503),
        "<html><body><h1>Down for Maintenance (Err 3)</h1>"
        "<p>An upgrade is currently in progress...</p></body></html>",
    ),
    "firewall": lambda value, _: _html(
        int(value or 403),
        "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>",
        ("server", "cloudflare"),
        ("cf-mitigated", "challenge"),
    ),
    "mod_security": lambda value, _: _html(
        int(value or 406),
        "<html><head><title>406 Not Acceptable</title></head><body>Not Acceptable! An appropriate representation "
        "of the requested resource could not be found on this server. This error was generated by Mod_Security."
        "</body></html>",
    ),
    "gateway_timeout": lambda value, _: _html(
        int(value or 504), "<html><head><title>504 Gateway Time-out</title></head></html>"
    ),
    "output_emitted": lambda _, __: OOPS,
}

# Damage to the text of a good answer, from the value of the fault.
DAMAGED_TEXT: Final[dict[str, Callable[[bytes, Any], bytes]]] = {
    "truncated": lambda body, value: body[: int(len(body) * float(value or 0.6))],
    "bom": lambda body, _: b"\xef\xbb\xbf" + body,
    "php_warning": lambda body, _: PHP_WARNING + body,
    "huge": lambda body, value: body[:-1] + b',"filler":"' + b"x" * int(value or 20_000_000) + b'"}',
    "duplicate_keys": lambda body, _: b'{"result":"error",' + body[1:],
    "deep": lambda body, value: (
        body[:-1] + b',"deep":' + b"[" * int(value or 10_000) + b"]" * int(value or 10_000) + b"}"
    ),
}


class _Rows(NamedTuple):
    """The rows of a list answer, and their two keys in its body."""

    plural: str
    singular: str
    rows: list[dict[str, Any]]


def _rows(body: dict[str, Any]) -> _Rows | None:
    for plural, wrapper in body.items():
        if isinstance(wrapper, dict):
            for singular, rows in wrapper.items():
                if isinstance(rows, list) and rows and isinstance(rows[0], dict):
                    return _Rows(plural, singular, rows)
    return None


def _wrong_types(body: dict[str, Any], _: Any) -> None:
    listed = _rows(body)
    if listed:
        first = listed.rows[0]
        first.update({key: [value] for key, value in first.items() if key not in ("id", "pid")})


def _bad_row(body: dict[str, Any], value: Any) -> None:
    """Damage the `date` (default) or `amount` of the row in the middle."""
    listed = _rows(body)
    if not listed:
        return
    row = listed.rows[len(listed.rows) // 2]
    fields = {
        "date": ("nextduedate", "regdate", "date", "datecreated"),
        "amount": ("recurringamount", "recurring", "subtotal", "total", "amountin"),
    }[value or "date"]
    for key in fields:
        if key in row:
            row[key] = "2026-02-31" if value != "amount" else "1.234,56"
            return


def _lone_object(body: dict[str, Any], _: Any) -> None:
    listed = _rows(body)
    if listed and len(listed.rows) == 1:
        body[listed.plural][listed.singular] = listed.rows[0]


def _numbered_rows(body: dict[str, Any], _: Any) -> None:
    listed = _rows(body)
    if listed:
        body[listed.plural][listed.singular] = {str(index): row for index, row in enumerate(listed.rows)}


def _growing_total(body: dict[str, Any], value: Any) -> None:
    if "totalresults" in body:
        body["totalresults"] = int(body["totalresults"]) + int(body.get("startnumber", 0)) + int(value or 1)


def _no_rows(body: dict[str, Any], _: Any) -> None:
    """Count the rows without sending them."""
    listed = _rows(body)
    if listed:
        body[listed.plural] = ""


DAMAGED_ANSWERS: Final[dict[str, Callable[[dict[str, Any], Any], None]]] = {
    "wrong_types": _wrong_types,
    "bad_row": _bad_row,
    "lone_object": _lone_object,
    "numbered_rows": _numbered_rows,
    "growing_total": _growing_total,
    "no_rows": _no_rows,
}

# Failing connections. Values: milliseconds of `latency_ms`, seconds of `hang` (None: for ever), bytes of `drip` each 100 ms.
CONNECTION: Final = frozenset({"latency_ms", "hang", "drip", "reset", "cut"})
# Every page is the first page.
PAGING: Final = "repeated_page"

KINDS: Final = CONNECTION | {PAGING} | REPLIES.keys() | DAMAGED_TEXT.keys() | DAMAGED_ANSWERS.keys()


def damaged(body: dict[str, Any], faults: Iterable[Fault]) -> dict[str, Any]:
    """Return a copy of the answer with the damage of all faults that damage answers."""
    for fault in faults:
        if fault.kind in DAMAGED_ANSWERS:
            body = copy.deepcopy(body)
            DAMAGED_ANSWERS[fault.kind](body, fault.value)
    return body

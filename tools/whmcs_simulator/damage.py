"""Damage to good answers: to their text, their fields, and their rows."""

import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

PHP_WARNING: Final = (
    b"<br />\n<b>Warning</b>:  Undefined variable $x in <b>hooks.php</b> on line <b>12</b><br />\n"
)

# Damage to the text of a good answer, from the value of the fault.
DAMAGED_TEXT: Final[dict[str, Callable[[bytes, Any], bytes]]] = {
    "truncated": lambda body, value: body[: int(len(body) * float(value or 0.6))],
    "bom": lambda body, _: b"\xef\xbb\xbf" + body,
    "php_warning": lambda body, _: PHP_WARNING + body,
    # inferred: a PHP notice names a closure in braces, and may quote JSON.
    "notice_with_braces": lambda body, _: (
        b'<b>Notice</b>:  Undefined index: {"id": in {closure}() {"a":[1]} on line <b>7</b><br />\n' + body
    ),
    # Manuals of cache plugins and of nginx's length hiding filter: a comment behind each text/html answer.
    "comment_behind": lambda body, _: body + b"\n<!-- Page cached by LiteSpeed Cache on 2026-11-24 {x} -->\n",
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


def _huge_total(body: dict[str, Any], value: Any) -> None:
    """Send a total with `value` digits."""
    if "totalresults" in body:
        body["totalresults"] = "9" * int(value or 400)


def _odd_version(body: dict[str, Any], value: Any) -> None:
    if isinstance(body.get("whmcs"), dict):
        body["whmcs"]["version"] = str(value or "8².1")


DAMAGED_ANSWERS: Final[dict[str, Callable[[dict[str, Any], Any], None]]] = {
    "wrong_types": _wrong_types,
    "bad_row": _bad_row,
    "lone_object": _lone_object,
    "numbered_rows": _numbered_rows,
    "growing_total": _growing_total,
    "no_rows": _no_rows,
    "huge_total": _huge_total,
    "odd_version": _odd_version,
}


def compressed(body: bytes, encodings: str) -> bytes:
    """Return the body in these encodings, the last one outermost: gzip, deflate."""
    for encoding in encodings.split(","):
        bits = 16 + zlib.MAX_WBITS if encoding.strip() == "gzip" else zlib.MAX_WBITS
        packer = zlib.compressobj(6, zlib.DEFLATED, bits)
        body = packer.compress(body) + packer.flush()
    return body

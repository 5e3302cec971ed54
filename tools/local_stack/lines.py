"""One readable log: what services write as JSON, shown to people as `LEVEL message key=value`."""

import json
from pathlib import Path
from typing import Any

# Shown otherwise, or of no use on a screen; the raw lines in the log folder have them.
_HIDDEN = {"time", "level", "service", "logger", "event", "trace_id", "traceback"}
_LONGEST = 200
_KEEP_BYTES = 64 * 1024 * 1024


def readable(line: str) -> str:
    """A JSON log line as text for people, any other line as it is; control characters are made harmless."""
    record = fields(line)
    if not record:
        return _printable(line)
    details = [f"{name}={_value(value)}" for name, value in record.items() if name not in _HIDDEN]
    return _printable(" ".join([f"{record.get('level', ''):<7}", str(record.get("event", "")), *details]))


def fields(line: str) -> dict[str, Any]:
    """The fields of a JSON log line; empty for any other line."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


class Tail:
    """The lines that a growing file gets from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        """The whole lines since the last call. A file that grew large is emptied after it was read."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            read = file.read()
            self._position += len(read)
        if self._position > _KEEP_BYTES:
            # Its writer appends, so it goes on at the new end.
            self._path.write_bytes(b"")
            self._position = 0
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def _value(value: object) -> str:
    """On one line, and no longer than a person reads."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return shown if shown and " " not in shown else json.dumps(shown, ensure_ascii=False)


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)

"""The readable log: JSON lines of the services, shown to people as `LEVEL message key=value`."""

import json
from pathlib import Path
from typing import Any

# Fields that the screen shows elsewhere or does not need. The log folder has the whole lines.
_HIDDEN = {"time", "level", "service", "logger", "event", "trace_id", "traceback"}
_LONGEST = 200
_KEEP_BYTES = 64 * 1024 * 1024


def readable(line: str) -> str:
    """Return a JSON log line as text for people, and any other line unchanged. Control characters are escaped."""
    record = fields(line)
    if not record:
        return _printable(line)
    details = [f"{name}={_value(value)}" for name, value in record.items() if name not in _HIDDEN]
    return _printable(" ".join([f"{record.get('level', ''):<7}", str(record.get("event", "")), *details]))


def fields(line: str) -> dict[str, Any]:
    """Return the fields of a JSON log line; empty for any other line."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


class Tail:
    """The new lines of a growing file, from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        """Return the whole lines since the last call. A large file is emptied after it was read."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            read = file.read()
            self._position += len(read)
        if self._position > _KEEP_BYTES:
            # The program writes in append mode, so its next line goes to the new end.
            self._path.write_bytes(b"")
            self._position = 0
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def _value(value: object) -> str:
    """Return a value as a short text on one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return shown if shown and " " not in shown else json.dumps(shown, ensure_ascii=False)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)

"""The readable log of the local stack."""

import json
from pathlib import Path

from tools.local_stack.lines import Tail, readable


def test_json_line_becomes_level_message_and_fields() -> None:
    line = json.dumps(
        {
            "time": "2026-11-23T06:15:00Z",
            "level": "INFO",
            "service": "connector",
            "logger": "services.connector.sync",
            "event": "page stored",
            "kind": "service",
            "rows": 250,
            "note": "two words",
        }
    )

    assert readable(line) == 'INFO    page stored kind=service rows=250 note="two words"'


def test_screen_omits_a_traceback() -> None:
    line = json.dumps(
        {"level": "ERROR", "event": "task failed", "error": "no rows", "traceback": "Traceback …\nValueError"}
    )

    assert readable(line) == 'ERROR   task failed error="no rows"'


def test_line_that_is_no_json_is_unchanged() -> None:
    assert readable("LOG:  database system is ready") == "LOG:  database system is ready"


def test_control_characters_cannot_reach_the_terminal() -> None:
    assert readable(json.dumps({"level": "INFO", "event": "named \x1b[31m"})) == "INFO    named \\x1b[31m"


def test_tail_returns_only_new_and_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text("of an earlier start\n")
    tail = Tail(log)

    with log.open("a") as file:
        file.write("first\nsec")
        file.flush()
        assert tail.new_lines() == ["first"]
        file.write("ond\n")
        file.flush()
        assert tail.new_lines() == ["second"]

"""Logs: one JSON object per line, without secrets."""

import json
import logging
import sys

import pytest

from libs.common.logs import JsonLines, KafkaLineLimit


def line(message: str, **extra: object) -> dict[str, object]:
    record = logging.LogRecord("services.x", logging.INFO, "x.py", 1, message, None, None)
    vars(record).update(extra)
    text = JsonLines("scheduler").format(record)
    assert "\n" not in text
    fields: dict[str, object] = json.loads(text)
    return fields


@pytest.mark.rule("H3")
def test_line_has_the_message_as_event_and_extras_as_fields() -> None:
    fields = line("run applied", run_id="r1", rows=3)

    assert (
        fields.items() >= {"event": "run applied", "service": "scheduler", "run_id": "r1", "rows": 3}.items()
    )


@pytest.mark.rule("H3")
def test_line_end_in_a_field_does_not_break_the_line() -> None:
    assert line("x", display_name="a\nb\u2028c")["display_name"] == "a\nb\u2028c"


def test_error_stands_in_the_same_line() -> None:
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed", None, None)
    try:
        raise ValueError("what was wrong")
    except ValueError:
        record.exc_info = sys.exc_info()

    assert "what was wrong" in json.loads(JsonLines("x").format(record))["traceback"]


@pytest.mark.rule("H3")
@pytest.mark.parametrize(
    "text",
    [
        "https://x/api?identifier=abc&secret=s3cr3t-word&action=GetClients",
        "postgresql://user:s3cr3t-word@db/x",
        "accesskey=s3cr3t-word",
        "password=s3cr3t-word",
        "mrr_pat_s3cr3tword0000000000000000000000000",
        "mrc1.k1.s3cr3tword.s3cr3tword",
    ],
)
def test_logged_secret_is_masked(text: str) -> None:
    assert "s3cr3t" not in str(line("x", detail=text))


def test_lines_of_kafka_clients_are_few_a_minute() -> None:
    seconds = [0.0]
    limit = KafkaLineLimit(lambda: seconds[0])

    def shown(name: str, message: str, *values: object) -> logging.LogRecord | None:
        record = logging.LogRecord(name, logging.ERROR, "x.py", 1, message, values, None)
        return record if limit.filter(record) else None

    first = [shown("aiokafka.conn", "no connection to %s", number) for number in range(1000)]
    others = [shown("aiokafka.client", f"fault {number}") for number in range(1000)]
    ours = [shown("services.metrics", "batch failed") for _ in range(10)]
    seconds[0] = 61.0
    later = shown("aiokafka.conn", "no connection to %s", 1)

    assert first[0] is not None
    assert first[0].getMessage() == "no connection to 0"
    assert sum(record is not None for record in first + others) == 5
    assert None not in ours
    assert later is not None
    # "fault 0" has reported the 999 lines before it, so this line reports those since then.
    assert vars(later)["left_out"] == 996

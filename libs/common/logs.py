"""Logs: one JSON object per line on stdout."""

import logging
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

import orjson
from opentelemetry import trace

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# A second line of defence: secrets are SecretStr, so our own code does not log them. An error of a library might.
_SECRETS: Final = re.compile(
    r"""(?ix) (mrr_pat_\w+ | mrc1\.[\w.-]+ | (?<=secret=)[^&\s"']+ | (?<=accesskey=)[^&\s"']+
    | (?<=password=)[^&\s"']+ | (?<=identifier=)[^&\s"']+ | (?<=://)[^/\s:@"']+:[^/\s@"']+(?=@))"""
)
_KAFKA_CLIENTS: Final = ("aiokafka", "faststream")
_LINES_PER_MINUTE: Final = 5
_WARNINGS_ONLY: Final = ("httpx", "httpcore", "aiokafka", "sqlalchemy", "uvicorn", "asyncio")


class KafkaLineLimit(logging.Filter):
    """Limit the lines of the Kafka clients: while no broker answers they write thousands per minute.

    Per minute, the first line of each kind passes, five lines in all. The field `left_out` of the next line that passes
    says how many lines were discarded before it.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._minute = 0
        self._shown: set[str] = set()
        self._discarded = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in _KAFKA_CLIENTS:
            return True
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute, self._shown = minute, set()
        if record.msg in self._shown or len(self._shown) >= _LINES_PER_MINUTE:
            self._discarded += 1
            return False
        self._shown.add(record.msg)
        if self._discarded:
            record.left_out, self._discarded = self._discarded, 0
        return True


class JsonLines(logging.Formatter):
    """Format a record as JSON: time, level, service, logger, event (the constant message), trace id, and the extra fields."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self.service,
            "logger": record.name,
            "event": record.getMessage(),
        }
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = f"{context.trace_id:032x}"
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _SECRETS.sub("[secret]", orjson.dumps(line, default=str).decode())


def configure_logs(service: str, level: str) -> None:
    """Write all log records of the process to stdout, and libraries' records from WARNING on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines(service))
    handler.addFilter(KafkaLineLimit())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _WARNINGS_ONLY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # FastStream warns at each start that it does not create the topics.
    logging.getLogger("faststream").setLevel(logging.ERROR)

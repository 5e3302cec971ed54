"""Logs as one JSON object a line, traces, and the list of our instruments."""

import logging
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

import orjson
from opentelemetry import metrics, propagate, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# The last resort: secrets are SecretStr and never logged in the first place.
_SECRETS: Final = re.compile(
    r"""(?ix) (mrr_pat_\w+ | mrc1\.[\w.-]+ | (?<=secret=)[^&\s"']+ | (?<=accesskey=)[^&\s"']+
    | (?<=password=)[^&\s"']+ | (?<=identifier=)[^&\s"']+ | (?<=://)[^/\s:@"']+:[^/\s@"']+(?=@))"""
)
_CLIENTS: Final = ("aiokafka", "faststream")
_LINES_A_MINUTE: Final = 5
_QUIET: Final = ("httpx", "httpcore", "aiokafka", "sqlalchemy", "uvicorn", "asyncio")

tracer: Final = trace.get_tracer("mrrlytics")
_meter: Final = metrics.get_meter("mrrlytics")

# What a rise means stands beside each.
outbox_pending: Final = _meter.create_gauge("mrrlytics.outbox.pending")  # Kafka is away or slow
dead_letters: Final = _meter.create_counter("mrrlytics.dlq.messages")  # a producer sends what we cannot read
events_applied: Final = _meter.create_counter("mrrlytics.events.applied")  # work arrives
consumer_paused: Final = _meter.create_counter(
    "mrrlytics.consumer.paused"
)  # a batch could not be stored: database away
scheduler_commands: Final = _meter.create_counter("mrrlytics.scheduler.commands")  # ticks are issued
tick_lag: Final = _meter.create_histogram("mrrlytics.scheduler.tick.lag", "s")  # commands are sent late
last_tick: Final = _meter.create_gauge(
    "mrrlytics.scheduler.last_tick.timestamp", "s"
)  # standing still: nobody ticks
sync_runs: Final = _meter.create_counter("mrrlytics.sync.runs")  # runs end, by outcome and code
whmcs_requests: Final = _meter.create_histogram("mrrlytics.whmcs.request.duration", "s")  # a WHMCS is slow
records_skipped: Final = _meter.create_counter(
    "mrrlytics.whmcs.records.skipped"
)  # WHMCS sends rows we cannot read
egress_blocked: Final = _meter.create_counter("mrrlytics.egress.blocked")  # someone tries forbidden addresses
credential_failures: Final = _meter.create_counter(
    "mrrlytics.credential.failures"
)  # a key is missing or wrong
lease_lost: Final = _meter.create_counter(
    "mrrlytics.sync.lease.lost"
)  # workers are frozen or the database is slow
requests_rejected: Final = _meter.create_counter("mrrlytics.ratelimit.rejected")  # a caller asks too often
auth_attempts: Final = _meter.create_counter("mrrlytics.auth.attempts")  # somebody guesses passwords


class Sparing(logging.Filter):
    """Lets few lines of the Kafka clients through: without a broker they write thousands a minute, all of the same kind.

    The first line of each kind and minute is shown, and no more than five a minute in all; `left_out` tells how many were not.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._minute = 0
        self._shown: set[str] = set()
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in _CLIENTS:
            return True
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute, self._shown = minute, set()
        if record.msg in self._shown or len(self._shown) >= _LINES_A_MINUTE:
            self._left_out += 1
            return False
        self._shown.add(record.msg)
        if self._left_out:
            record.left_out, self._left_out = self._left_out, 0
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, service, logger, event (the constant message), trace, and the extras."""

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


def configure(service: str, level: str = "INFO", otlp_endpoint: str | None = None) -> None:
    """Log JSON lines to stdout; with an endpoint also export traces and metrics by OTLP over HTTP."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines(service))
    handler.addFilter(Sparing())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("faststream").setLevel(
        logging.ERROR
    )  # warns at each start that topics are not its own to make
    if otlp_endpoint is None:
        return
    resource = Resource.create({"service.name": f"mrrlytics-{service}"})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{otlp_endpoint}/v1/traces")))
    trace.set_tracer_provider(traces)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{otlp_endpoint}/v1/metrics"))
    metrics.set_meter_provider(MeterProvider([reader], resource=resource))


def current_traceparent() -> str | None:
    """W3C trace context of the current span; None outside any."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


def continued(headers: Mapping[str, str]) -> Any:
    """The trace context that a message's headers carry, as parent for a span."""
    return propagate.extract(headers)

"""OpenTelemetry: the tracer, all our instruments, and their export."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from libs.common.logs import configure_logs
from libs.common.settings import ProcessSettings

tracer: Final = trace.get_tracer("mrrlytics")
_meter: Final = metrics.get_meter("mrrlytics")
# From a fast answer to a long sync. OpenTelemetry's own bounds are meant for milliseconds.
_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


def _seconds(name: str) -> metrics.Histogram:
    """Return a histogram of seconds."""
    return _meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=_BOUNDS)


# Attributes name no organization, instance, person or host; spans and logs do. Each comment says what it means when the instrument
# rises. docs/operations.md says what to do.
# Kafka is unreachable or slow.
outbox_pending: Final = _meter.create_gauge("mrrlytics.outbox.pending")
outbox_oldest: Final = _meter.create_gauge("mrrlytics.outbox.oldest.age", "s")
# A producer sends records that a consumer cannot read.
dead_letters: Final = _meter.create_counter("mrrlytics.dlq.messages")
# The connector publishes facts.
entity_events: Final = _meter.create_counter("mrrlytics.entity.events")
# Metrics applies facts, and how long after they were published.
events_applied: Final = _meter.create_counter("mrrlytics.events.applied")
apply_delay: Final = _seconds("mrrlytics.events.apply.delay")
# A consumer is slower than its producers.
consumer_lag: Final = _meter.create_gauge("mrrlytics.consumer.lag")
# A consumer could not store a batch, mostly because the database is unreachable.
consumer_paused: Final = _meter.create_counter("mrrlytics.consumer.paused")
# Records of metrics stay different from those of the connector after they were published again.
reconciliation_mismatches: Final = _meter.create_counter("mrrlytics.reconciliation.mismatches")
# Movements of customers do not add up to their MRR.
selfcheck_mismatches: Final = _meter.create_counter("mrrlytics.selfcheck.mismatches")
# The scheduler issues commands.
scheduler_commands: Final = _meter.create_counter("mrrlytics.scheduler.commands")
# The scheduler sends commands late.
tick_lag: Final = _seconds("mrrlytics.scheduler.tick.lag")
# No scheduler works when this one does NOT rise.
last_tick: Final = _meter.create_gauge("mrrlytics.scheduler.last_tick.timestamp", "s")
# Runs end, by outcome and code.
sync_runs: Final = _meter.create_counter("mrrlytics.sync.runs")
sync_run_duration: Final = _seconds("mrrlytics.sync.run.duration")
# More runs are due than the connectors have slots for.
syncs_queued: Final = _meter.create_gauge("mrrlytics.sync.queued")
syncs_running: Final = _meter.create_gauge("mrrlytics.sync.running")
# Instances are not read in time.
sync_instances: Final = _meter.create_gauge("mrrlytics.sync.instances")
# A WHMCS is slow.
whmcs_requests: Final = _seconds("mrrlytics.whmcs.request.duration")
# WHMCS sends rows that the connector cannot read.
records_skipped: Final = _meter.create_counter("mrrlytics.whmcs.records.skipped")
# Someone enters addresses that are not public.
egress_blocked: Final = _meter.create_counter("mrrlytics.egress.blocked")
# The keyring lacks a key, or a stored credential was changed.
credential_failures: Final = _meter.create_counter("mrrlytics.credential.failures")
# How many stored credentials need each key: a key may leave the keyring when none does.
credential_count: Final = _meter.create_gauge("mrrlytics.credential.count")
# Workers were frozen, or the database is slow.
lease_lost: Final = _meter.create_counter("mrrlytics.sync.lease.lost")
# A caller sends too many requests.
requests_rejected: Final = _meter.create_counter("mrrlytics.ratelimit.rejected")
# Someone guesses passwords.
auth_attempts: Final = _meter.create_counter("mrrlytics.auth.attempts")
# Someone tries what their role may not do.
authz_denied: Final = _meter.create_counter("mrrlytics.authz.denied")
# Something in the process blocks its event loop, or the machine is too busy.
event_loop_lag: Final = _seconds("mrrlytics.event_loop.lag")

# These follow the semantic conventions of OpenTelemetry.
requests_served: Final = _seconds("http.server.request.duration")
requests_sent: Final = _seconds("http.client.request.duration")
statements: Final = _seconds("db.client.operation.duration")
batches_sent: Final = _seconds("messaging.client.operation.duration")
batches_processed: Final = _seconds("messaging.process.duration")


def configure(service: str, settings: ProcessSettings) -> None:
    """Log to stdout. With a metrics port, collect the instruments; with an endpoint, send them and traces to it (OTLP over HTTP)."""
    configure_logs(service, settings.log_level)
    resource = Resource.create({"service.name": f"mrrlytics-{service}"})
    endpoint = settings.otlp_endpoint
    readers: list[MetricReader] = []
    if settings.metrics_port is not None:
        readers.append(PrometheusMetricReader())
    if endpoint is not None:
        traces = TracerProvider(resource=resource)
        traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
        trace.set_tracer_provider(traces)
        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics")))
    if readers:
        metrics.set_meter_provider(MeterProvider(readers, resource=resource))


@contextmanager
def timed(instrument: metrics.Histogram, attributes: Mapping[str, str]) -> Iterator[None]:
    """Record how many seconds the block took, and the type of its error if it raises."""
    started = time.monotonic()
    try:
        yield
    except Exception as error:
        attributes = {**attributes, "error.type": type(error).__name__}
        raise
    finally:
        instrument.record(time.monotonic() - started, attributes)


def current_traceparent() -> str | None:
    """Return the current span as a W3C traceparent; None outside of any span."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


def parent_of(headers: Mapping[str, str]) -> Context:
    """Return the trace context in a message's headers, as the parent of a new span."""
    return propagate.extract(headers)


def parent_from(traceparent: str | None) -> Context:
    """Return a stored W3C traceparent as the parent of a new span; without one the span begins a trace."""
    return parent_of({} if traceparent is None else {"traceparent": traceparent})


def record_spans(name: str, traceparents: Iterable[str], started_ns: int, kind: trace.SpanKind) -> None:
    """Record finished work on many messages as one span in each of their traces. `started_ns` is the time of its begin since 1970."""
    for traceparent in traceparents:
        tracer.start_span(name, parent_from(traceparent), kind, start_time=started_ns).end()

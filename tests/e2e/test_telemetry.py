"""One trace leads from Sync Now to the figure, and each service serves its instruments."""

import asyncio
import re
import time

import httpx

from tests.e2e.collector import Collector, Span
from tests.e2e.conftest import RunningStack, control
from tests.e2e.test_api import connected, program, synced

__all__ = ["program"]

SYNC_NOW = Span("mrrlytics-gateway", "POST /api/v1/instances/{instance_id}/syncs")
# Spans are sent every five seconds.
_SECONDS = 20.0
_FROM_SYNC_NOW_TO_FIGURE = [
    SYNC_NOW,
    Span("mrrlytics-gateway", "outbox.publish"),
    Span("mrrlytics-connector", "events.apply"),
    Span("mrrlytics-connector", "sync.run"),
    Span("mrrlytics-connector", "credential.decrypt"),
    Span("mrrlytics-connector", "whmcs.call GetClients"),
    Span("mrrlytics-connector", "sync.page"),
    Span("mrrlytics-connector", "events.publish"),
    Span("mrrlytics-connector", "outbox.publish"),
    Span("mrrlytics-metrics", "events.apply"),
    Span("mrrlytics-metrics", "metrics.recompute"),
    # The instance needed attention, and the scheduler hears that it works again.
    Span("mrrlytics-gateway", "events.apply"),
    Span("mrrlytics-scheduler", "events.apply"),
]
# What a healthy system measures within minutes. The others rise only when something is wrong.
_INSTRUMENTS = {
    "gateway": {
        "http_server_request_duration",
        "mrrlytics_outbox_pending",
        "mrrlytics_outbox_oldest_age",
        "mrrlytics_sync_instances",
    },
    "scheduler": {"mrrlytics_scheduler_last_tick_timestamp", "mrrlytics_consumer_lag"},
    "connector": {
        "http_client_request_duration",
        "messaging_client_operation_duration",
        "mrrlytics_credential_count",
        "mrrlytics_entity_events",
        "mrrlytics_sync_queued",
        "mrrlytics_sync_running",
        "mrrlytics_sync_runs",
        "mrrlytics_sync_run_duration",
        "mrrlytics_whmcs_request_duration",
    },
    "metrics": {
        "db_client_operation_duration",
        "messaging_process_duration",
        "mrrlytics_events_applied",
        "mrrlytics_events_apply_delay",
        "mrrlytics_event_loop_lag",
    },
}


async def _trace(collector: Collector) -> list[Span]:
    """Return the newest trace of Sync Now, once all its spans have arrived or none came for some time."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        trace = collector.trace_with(SYNC_NOW)
        if set(trace) >= set(_FROM_SYNC_NOW_TO_FIGURE):
            break
        await asyncio.sleep(0.2)
    return trace


async def test_one_trace_leads_from_sync_now_to_the_figure(
    stack: RunningStack, program: httpx.AsyncClient
) -> None:
    instance, identifier = await connected(stack, program, "Traced")
    control(stack, "PUT", f"/credentials/{identifier}", {"state": "disabled"})
    assert (await synced(program, instance))["state"] == "failed"
    control(stack, "PUT", f"/credentials/{identifier}", {"state": "enabled"})
    stack.collector.traces.clear()
    await synced(program, instance)

    trace = await _trace(stack.collector)

    assert [span for span in _FROM_SYNC_NOW_TO_FIGURE if span not in trace] == []


async def test_services_serve_their_instruments(stack: RunningStack, program: httpx.AsyncClient) -> None:
    instance, _ = await connected(stack, program, "Measured")
    await synced(program, instance)
    await asyncio.sleep(15)

    missing = {}
    async with httpx.AsyncClient() as client:
        for service, port in stack.metrics_ports.items():
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
            measured = set(re.findall(r"^([a-z_]+?)(?:_seconds)?(?:_total|_bucket)?\{", text, re.MULTILINE))
            missing[service] = sorted(_INSTRUMENTS[service] - measured)

    assert missing == {service: [] for service in _INSTRUMENTS}

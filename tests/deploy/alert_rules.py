"""Rules for alerts and dashboards: they name instruments that exist, and each alert says what to do and has a test."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from tests.deploy.rendering import K8S, REPOSITORY, Documents, name_of, of_kind

# Metrics of what MRRlytics runs on: kube-state-metrics, the kubelet, cert-manager, CloudNativePG and Strimzi.
PLATFORM = {
    "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp",
    "certmanager_certificate_expiration_timestamp_seconds",
    "cnpg_pg_replication_lag",
    "kafka_cluster_partition_underminisr",
    "kube_job_status_failed",
    "kube_pod_container_status_restarts_total",
    "kubelet_volume_stats_capacity_bytes",
    "kubelet_volume_stats_used_bytes",
}
_INSTRUMENT = re.compile(r'_(gauge|counter|seconds)\("([\w.]+)"(?:, "(\w+)")?\)')
_SUFFIXES = {
    "gauge": ("",),
    "counter": ("_total",),
    "seconds": ("_seconds_bucket", "_seconds_count", "_seconds_sum"),
}
_UNITS = {"s": "_seconds", "": ""}
_METRIC = re.compile(r"\b(?:[a-z]+_){2,}[a-z0-9]+\b(?!\s*[=!]~?)")
# Words of PromQL and labels that look like metrics.
_WORDS = {
    "histogram_quantile",
    "quantile_over_time",
    "http_response_status_code",
    "http_route",
    "job_name",
    "avg_over_time",
    "app_kubernetes_io_component",
}


@cache
def instruments() -> set[str]:
    """Return the names under which Prometheus knows the instruments of the code."""
    code = (REPOSITORY / "libs" / "common" / "telemetry.py").read_text(encoding="utf-8")
    return {
        f"{name.replace('.', '_')}{_UNITS[unit]}{suffix}"
        for kind, name, unit in _INSTRUMENT.findall(code)
        for suffix in _SUFFIXES[kind]
    }


def alerts(documents: Documents) -> list[dict[str, Any]]:
    return [
        rule
        for document in of_kind(documents, "PrometheusRule")
        for group in document["spec"]["groups"]
        for rule in group["rules"]
    ]


def dashboards(documents: Documents) -> dict[str, str]:
    """Return the text of each dashboard by its file."""
    maps = [d for d in of_kind(documents, "ConfigMap") if d["metadata"]["name"] == "mrrlytics-dashboards"]
    return {name: text for document in maps for name, text in document["data"].items()}


def unknown_metrics(expression: str) -> set[str]:
    """Return the metrics of an expression that neither the code nor the platform has."""
    without_texts = re.sub(r'"[^"]*"', '""', expression)
    return {
        name
        for name in _METRIC.findall(without_texts)
        if name not in _WORDS and name not in instruments() and name not in PLATFORM
    }


def actionable(documents: Documents) -> Iterator[str]:
    """Check that each alert has a severity, a summary and a runbook that exists, and names real metrics."""
    headings = re.findall(
        r"^### (\w+)$", (REPOSITORY / "docs" / "operations.md").read_text("utf-8"), re.MULTILINE
    )
    for rule in alerts(documents):
        name = rule["alert"]
        if rule["labels"].get("severity") not in ("page", "ticket"):
            yield f"{name}: has no severity"
        if not rule["annotations"].get("summary"):
            yield f"{name}: has no summary"
        if rule["annotations"].get("runbook") != f"docs/operations.md#{name.lower()}" or name not in headings:
            yield f"{name}: has no runbook"
        yield from (f"{name}: nothing measures {metric}" for metric in sorted(unknown_metrics(rule["expr"])))
    for document in of_kind(documents, "ScaledObject"):
        for trigger in document["spec"]["triggers"]:
            query = trigger["metadata"].get("query", "")
            yield from (f"{name_of(document)}: nothing measures {m}" for m in sorted(unknown_metrics(query)))


def tested(documents: Documents) -> Iterator[str]:
    """Check that each alert is both expected and not expected by some test of promtool."""
    seen: dict[str, set[bool]] = {}
    for path in sorted((K8S / "rules").glob("*.test.yaml")):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for expectation in test["alert_rule_test"]:
                seen.setdefault(expectation["alertname"], set()).add(bool(expectation.get("exp_alerts")))
    for rule in alerts(documents):
        if seen.get(rule["alert"], set()) != {True, False}:
            yield f"{rule['alert']}: has no test in which it fires, or none in which it does not"


def usable_dashboards(documents: Documents) -> Iterator[str]:
    """Check that each dashboard is JSON with its own id, lets people choose the data source, and names real metrics."""
    uids = []
    for name, text in dashboards(documents).items():
        try:
            board = json.loads(text)
        except ValueError:
            yield f"{name}: is not JSON"
            continue
        uids.append(board["uid"])
        if "://" in text:
            yield f"{name}: has an absolute address"
        if [variable["type"] for variable in board["templating"]["list"]][:1] != ["datasource"]:
            yield f"{name}: does not let people choose the data source"
        for panel in board["panels"]:
            for target in panel["targets"]:
                for metric in sorted(unknown_metrics(target["expr"])):
                    yield f"{name}: nothing measures {metric}"
    if len(set(uids)) != len(uids):
        yield f"dashboards share an id: {sorted(uids)}"

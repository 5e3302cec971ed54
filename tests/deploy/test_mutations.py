"""Test that each rule notices when the property that it protects is removed. Each case is a whole overlay with one fault."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.deploy import alert_rules, code_rules, network_rules, pod_rules, reference_rules
from tests.deploy.rendering import Document, Documents, get, of_kind, render

Rule = Callable[[Documents], Iterator[str]]


class Fault(NamedTuple):
    """A change that breaks a rule, and a part of the sentence that the rule says then."""

    rule: Rule
    break_it: Callable[[Documents], object]
    finding: str


def spec(documents: Documents, name: str = "gateway", kind: str = "Deployment") -> Any:
    """Return the spec of a pod."""
    document = get(documents, kind, name)["spec"]
    return (document["jobTemplate"]["spec"] if kind == "CronJob" else document)["template"]["spec"]


def container(documents: Documents, name: str = "gateway", kind: str = "Deployment") -> Any:
    return spec(documents, name, kind)["containers"][0]


def volume(documents: Documents, name: str, deployment: str = "gateway") -> Any:
    [match] = [volume for volume in spec(documents, deployment)["volumes"] if volume["name"] == name]
    return match


def policy(documents: Documents, name: str) -> Any:
    return get(documents, "NetworkPolicy", name)["spec"]


def alert(documents: Documents, name: str) -> Document:
    [match] = [rule for rule in alert_rules.alerts(documents) if rule["alert"] == name]
    return match


def dashboard(documents: Documents) -> dict[str, str]:
    data: dict[str, str] = get(documents, "ConfigMap", "mrrlytics-dashboards")["data"]
    return data


def scaled(documents: Documents, name: str) -> Any:
    return get(documents, "ScaledObject", name)["spec"]


def topic(documents: Documents, name: str) -> Document:
    return get(documents, "KafkaTopic", name)


def acls(documents: Documents, name: str) -> list[Document]:
    listed: list[Document] = get(documents, "KafkaUser", name)["spec"]["authorization"]["acls"]
    return listed


FAULTS = {
    # 1: hardening
    "namespace allows all": Fault(
        pod_rules.restricted,
        lambda d: get(d, "Namespace", "mrrlytics")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "privileged"}
        ),
        "does not enforce",
    ),
    "job runs as root": Fault(
        pod_rules.restricted,
        lambda d: spec(d, "migrate", "Job")["securityContext"].pop("runAsNonRoot"),
        "Job migrate-0-1-0: may run as root",
    ),
    "cron job writes to its image": Fault(
        pod_rules.restricted,
        lambda d: container(d, "purge", "CronJob")["securityContext"].pop("readOnlyRootFilesystem"),
        "CronJob purge: can write",
    ),
    "pod keeps a capability": Fault(
        pod_rules.restricted,
        lambda d: container(d)["securityContext"]["capabilities"].update(add=["NET_RAW"]),
        "keeps capabilities",
    ),
    "host folder is mounted": Fault(
        pod_rules.restricted,
        lambda d: spec(d)["volumes"].append({"name": "etc", "hostPath": {"path": "/etc"}}),
        "mounts etc from elsewhere",
    ),
    "secret is readable by others": Fault(
        pod_rules.restricted,
        lambda d: volume(d, "credential-keys")["secret"].pop("defaultMode"),
        "lets others read credential-keys",
    ),
    "memory is not limited": Fault(
        pod_rules.restricted, lambda d: container(d)["resources"]["limits"].pop("memory"), "no requests"
    ),
    "liveness asks for readiness": Fault(
        pod_rules.probed,
        lambda d: container(d)["livenessProbe"]["httpGet"].update(path="/readyz"),
        "livenessProbe",
    ),
    # 2: references
    "service selects nothing": Fault(
        reference_rules.selected,
        lambda d: get(d, "Service", "gateway")["spec"]["selector"].update(
            {"app.kubernetes.io/component": "web"}
        ),
        "Service gateway: selects no pod",
    ),
    "deployment does not select its pods": Fault(
        reference_rules.selected,
        lambda d: get(d, "Deployment", "metrics")["spec"]["template"]["metadata"]["labels"].clear(),
        "Deployment metrics: does not select",
    ),
    "autoscaler has no target": Fault(
        reference_rules.selected,
        lambda d: scaled(d, "metrics")["scaleTargetRef"].update(name="metric"),
        "scales nothing",
    ),
    "configuration does not exist": Fault(
        reference_rules.referenced,
        lambda d: container(d)["envFrom"][0]["configMapRef"].update(name="config"),
        "the ConfigMap config does not exist",
    ),
    "secret is unknown": Fault(
        reference_rules.referenced,
        lambda d: volume(d, "session")["secret"].update(secretName="session"),
        "the Secret session is not declared",
    ),
    "port has another name": Fault(
        reference_rules.referenced,
        lambda d: get(d, "Service", "gateway")["spec"]["ports"][0].update(targetPort="http"),
        "no pod has the port http",
    ),
    "volume is not mounted": Fault(
        reference_rules.referenced, lambda d: container(d)["volumeMounts"].pop(), "volumes and mounts differ"
    ),
    # 3: code
    "setting is misspelt": Fault(
        code_rules.known_settings,
        lambda d: container(d)["env"].append({"name": "MRRLYTICS_KAFKA_USER", "value": "x"}),
        "KAFKA_USER is no setting",
    ),
    "required setting is missing": Fault(
        code_rules.known_settings,
        lambda d: get(d, "ConfigMap", "mrrlytics-config")["data"].pop("MRRLYTICS_SESSION_KEY_FILE"),
        "SESSION_KEY_FILE is not set",
    ),
    "topic is missing": Fault(
        code_rules.topics, lambda d: d.remove(topic(d, "billing.invoices")), "billing.invoices is missing"
    ),
    "topic has fewer partitions": Fault(
        code_rules.topics, lambda d: topic(d, "instances")["spec"].update(partitions=6), "has 6 partitions"
    ),
    "topic is not compacted": Fault(
        code_rules.topics,
        lambda d: topic(d, "instances")["spec"]["config"].update({"cleanup.policy": "delete"}),
        "another configuration",
    ),
    "scheduler reads invoices": Fault(
        code_rules.rights,
        lambda d: acls(d, "scheduler").append(
            {
                "resource": {"type": "topic", "name": "billing.invoices", "patternType": "literal"},
                "operations": ["Read"],
            }
        ),
        "scheduler may Read billing.invoices, and does not",
    ),
    "connector may not publish": Fault(
        code_rules.rights, lambda d: acls(d, "connector").clear(), "connector may not Write billing.customers"
    ),
    "listener of Kafka is plain": Fault(
        code_rules.only_tls,
        lambda d: get(d, "Kafka", "mrrlytics")["spec"]["kafka"]["listeners"][0].update(tls=False),
        "the listener tls is open",
    ),
    "role passes row-level security": Fault(
        code_rules.only_tls,
        lambda d: get(d, "Cluster", "mrrlytics")["spec"]["managed"]["roles"][1].update(bypassrls=True),
        "the role gateway passes",
    ),
    # 4: networks
    "gateway reaches the internet": Fault(
        network_rules.internet_for_connector,
        lambda d: policy(d, "gateway")["egress"].append({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}),
        "NetworkPolicy gateway: leads to the whole internet",
    ),
    "rule without peers": Fault(
        network_rules.internet_for_connector,
        lambda d: policy(d, "metrics")["egress"].append({"ports": [{"port": 443}]}),
        "NetworkPolicy metrics: leads to the whole internet",
    ),
    "connector reaches metadata": Fault(
        network_rules.internet_for_connector,
        lambda d: policy(d, "connector")["egress"][2]["to"][0]["ipBlock"]["except"].remove("169.254.0.0/16"),
        "the connector may call 169.254.169.254",
    ),
    "metrics is open to the cluster": Fault(
        network_rules.equals_table,
        lambda d: policy(d, "metrics")["ingress"][0]["from"].append({"namespaceSelector": {}}),
        "metrics: must not have",
    ),
    "scheduler cannot reach Kafka": Fault(
        network_rules.equals_table, lambda d: policy(d, "scheduler")["egress"].pop(), "scheduler: lacks"
    ),
    "pods are open by default": Fault(
        network_rules.closed_by_default,
        lambda d: policy(d, "default-deny").update(policyTypes=["Ingress"]),
        "does not close both directions",
    ),
    # 5: shutdown and replicas
    "grace period is short": Fault(
        pod_rules.stops_in_time,
        lambda d: spec(d).update(terminationGracePeriodSeconds=50),
        "killed before 60",
    ),
    "replicas beside an autoscaler": Fault(
        pod_rules.replicas,
        lambda d: get(d, "Deployment", "metrics")["spec"].update(replicas=2),
        "an autoscaler",
    ),
    "budget with one replica": Fault(
        pod_rules.replicas,
        lambda d: get(d, "Deployment", "scheduler")["spec"].update(replicas=1),
        "has 1 replicas, and a budget",
    ),
    "more replicas than partitions": Fault(
        pod_rules.replicas,
        lambda d: scaled(d, "metrics").update(maxReplicaCount=13),
        "than there are partitions",
    ),
    "autoscaler may stop all": Fault(
        pod_rules.replicas, lambda d: scaled(d, "metrics").update(minReplicaCount=0), "may have no replica"
    ),
    # 6: secrets
    "secret with data": Fault(
        reference_rules.no_secrets,
        lambda d: d.append({"kind": "Secret", "metadata": {"name": "db"}, "data": {}}),
        "Secret db: has data",
    ),
    "password in the environment": Fault(
        reference_rules.no_secrets,
        lambda d: container(d)["env"].append({"name": "X", "valueFrom": {"secretKeyRef": {"name": "db"}}}),
        "has a secret in its environment",
    ),
    "password in an address": Fault(
        reference_rules.no_secrets,
        lambda d: get(d, "ConfigMap", "mrrlytics-config")["data"].update(
            X="postgresql://gateway:hunter2@db/x"
        ),
        "has what looks like a key",
    ),
    # 7: images
    "image without digest": Fault(
        pod_rules.one_digest, lambda d: container(d).update(image="mrrlytics:1.0"), "has no digest"
    ),
    "service with another image": Fault(
        pod_rules.one_digest,
        lambda d: container(d).update(image="mrrlytics@sha256:" + "2" * 64),
        "pods have different images",
    ),
    "latest image": Fault(
        pod_rules.never_latest, lambda d: container(d).update(image="mrrlytics:latest"), "mrrlytics:latest"
    ),
    # 8: alerts
    "alert on an unknown metric": Fault(
        alert_rules.actionable,
        lambda d: alert(d, "OutboxStuck").update(expr="mrrlytics_outbox_age_seconds > 1"),
        "nothing measures mrrlytics_outbox_age_seconds",
    ),
    "alert without runbook": Fault(
        alert_rules.actionable,
        lambda d: alert(d, "TicksLate")["annotations"].pop("runbook"),
        "has no runbook",
    ),
    "alert without severity": Fault(
        alert_rules.actionable, lambda d: alert(d, "TicksLate")["labels"].clear(), "has no severity"
    ),
    "alert without test": Fault(
        alert_rules.tested, lambda d: alert(d, "TicksLate").update(alert="TickDuplicated"), "has no test"
    ),
    "dashboard with an address": Fault(
        alert_rules.usable_dashboards,
        lambda d: dashboard(d).update({"sync.json": dashboard(d)["sync.json"].replace("utc", "http://x")}),
        "has an absolute address",
    ),
    "dashboards with one id": Fault(
        alert_rules.usable_dashboards,
        lambda d: dashboard(d).update({"sync.json": dashboard(d)["events.json"]}),
        "dashboards share an id",
    ),
    "autoscaler asks for nothing": Fault(
        alert_rules.actionable,
        lambda d: scaled(d, "connector")["triggers"][0]["metadata"].update(
            query="max(mrrlytics_queue_length)"
        ),
        "nothing measures mrrlytics_queue_length",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_rule_notices_the_fault(name: str) -> None:
    fault, documents = FAULTS[name], render("production")
    assert not any(fault.finding in finding for finding in fault.rule(documents))

    fault.break_it(documents)

    assert any(fault.finding in finding for finding in fault.rule(documents)), list(fault.rule(documents))


def test_budget_may_not_protect_the_only_replica() -> None:
    documents = render("self-hosted")
    documents += of_kind(render("production"), "PodDisruptionBudget")

    assert list(pod_rules.replicas(documents))

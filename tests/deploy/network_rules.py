"""Rules for network policies: they are the table of deploy/k8s/README.md, and only the connector reaches the internet."""

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

from tests.deploy.rendering import SERVICES, Document, Documents, get, matches, of_kind, pods

TASKS = ("maintenance", "migrate")
ANYWHERE = ("0.0.0.0/0", "::/0")
WHMCS_PORTS = {443, 8443}
# One address of each range that the connector never calls.
REFUSED = (
    *(
        "0.0.0.1",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
    ),
    *("172.16.0.1", "192.0.0.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1"),
    *("::1", "64:ff9b::a00:1", "64:ff9b:1::1", "2001::1", "2002:a00:1::1", "3fff::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1"),
)


class Opening(NamedTuple):
    """A direction, what is at its other end, and a port."""

    direction: str
    other: str
    port: str


_DNS = {Opening("out", "dns", "53")}
_STORES = {Opening("out", "postgres", "5432"), Opening("out", "kafka", "9093")}
_SCRAPED = {Opening("in", "monitoring", "metrics")}
EXPECTED = {
    "gateway": _DNS | _STORES | _SCRAPED | {Opening("in", "ingress", "https")},
    "scheduler": _DNS | _STORES | _SCRAPED,
    "metrics": _DNS | _STORES | _SCRAPED,
    "connector": _DNS | _STORES | _SCRAPED | {Opening("out", "internet", str(p)) for p in WHMCS_PORTS},
    "migrate": _DNS | {Opening("out", "postgres", "5432")},
    "maintenance": _DNS | {Opening("out", "postgres", "5432")},
}


def closed_by_default(documents: Documents) -> Iterator[str]:
    """Check that a policy without rules selects every pod of ours in both directions."""
    policy = get(documents, "NetworkPolicy", "default-deny")["spec"]
    if set(policy["policyTypes"]) != {"Ingress", "Egress"} or policy.get("ingress") or policy.get("egress"):
        yield "the default policy does not close both directions"
    for pod in pods(documents):
        if not matches(policy["podSelector"], pod.labels):
            yield f"{pod.place}: is open by default"


def graph(documents: Documents) -> dict[str, set[Opening]]:
    """Return what all policies together open, by component."""
    labels = {pod.component: pod.labels for pod in pods(documents)}
    return {
        component: {
            opening
            for policy in of_kind(documents, "NetworkPolicy")
            if matches(policy["spec"]["podSelector"], labels[component])
            for opening in _openings(policy)
        }
        for component in labels
    }


def _openings(policy: Document) -> Iterator[Opening]:
    for direction, rules, side in (("in", "ingress", "from"), ("out", "egress", "to")):
        for rule in policy["spec"].get(rules, []):
            peers = {_peer(peer) for peer in rule.get(side, [{}])}
            for port in rule.get("ports", [{"port": "any"}]):
                yield from (Opening(direction, peer, str(port["port"])) for peer in peers)


def _peer(peer: Document) -> str:
    if block := peer.get("ipBlock"):
        return "internet" if block["cidr"] in ANYWHERE else block["cidr"]
    pod_labels = peer.get("podSelector", {}).get("matchLabels", {})
    if "cnpg.io/cluster" in pod_labels:
        return "postgres"
    if "strimzi.io/cluster" in pod_labels:
        return "kafka"
    namespace = (
        peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name", "any")
    )
    return "dns" if (namespace, pod_labels) == ("kube-system", {"k8s-app": "kube-dns"}) else str(namespace)


def equals_table(documents: Documents) -> Iterator[str]:
    """Check that the policies open exactly what the table says, and telemetry where it is on."""
    telemetry = [
        policy for policy in of_kind(documents, "NetworkPolicy") if policy["metadata"]["name"] == "telemetry"
    ]
    collector = {Opening("out", "observability", "4318")} if telemetry else set()
    for component, openings in graph(documents).items():
        expected = EXPECTED[component] | (collector if component in SERVICES else set())
        yield from (f"{component}: must not have {opening}" for opening in sorted(openings - expected))
        yield from (f"{component}: lacks {opening}" for opening in sorted(expected - openings))


def internet_for_connector(documents: Documents) -> Iterator[str]:
    """Check that only the connector reaches any address, and none that the product itself refuses."""
    for policy in of_kind(documents, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            for peer in rule.get("to", [{"ipBlock": {"cidr": ANYWHERE[0]}}]):
                block = peer.get("ipBlock", {"cidr": "10.0.0.0/8"})
                if block["cidr"] not in ANYWHERE:
                    continue
                if policy["metadata"]["name"] != "connector":
                    yield f"NetworkPolicy {policy['metadata']['name']}: leads to the whole internet"
                yield from _open_although_refused(block)


def is_open(block: Document, text: str) -> bool:
    """Return whether an ipBlock lets traffic to this address pass."""
    address = ipaddress.ip_address(text)
    return address in ipaddress.ip_network(block["cidr"]) and not any(
        address in ipaddress.ip_network(closed) for closed in block.get("except", [])
    )


def _open_although_refused(block: Document) -> Iterator[str]:
    yield from (f"the connector may call {text}" for text in REFUSED if is_open(block, text))

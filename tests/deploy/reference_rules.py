"""Rules for references: each selector selects something, and each name exists. Each rule returns a sentence per broken one."""

import base64
import re
from collections.abc import Iterator

from tests.deploy.rendering import Documents, Pod, environment, matches, name_of, of_kind, pods

# Secrets that operators or people make; deploy/k8s/README.md lists them.
DECLARED_SECRETS = {
    *("db-owner", "db-gateway", "db-scheduler", "db-connector", "db-metrics"),
    *("kafka-gateway", "kafka-scheduler", "kafka-connector", "kafka-metrics", "kafka-migrate"),
    *("kafka-ca", "postgres-ca", "mrrlytics-cluster-ca-cert", "mrrlytics-postgres-ca"),
    *("credential-keys", "session-hmac", "gateway-tls", "backup-store", "otlp-ca"),
}
_PRIVATE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|mrr_pat_[A-Za-z0-9]{36}|AKIA[0-9A-Z]{16}|://[^/\s:@{]+:[^@\s{]+@"
)
_LONG = re.compile(r"\b[A-Za-z0-9+/]{43}=")


def selected(documents: Documents) -> Iterator[str]:
    """Check that each selector selects a pod of ours, and that an autoscaler's target exists."""
    labels = [pod.labels for pod in pods(documents)]
    for document in of_kind(documents, "Deployment"):
        pod_labels = document["spec"]["template"]["metadata"]["labels"]
        if not matches(document["spec"]["selector"], pod_labels):
            yield f"{name_of(document)}: does not select its own pods"
    for document in documents:
        for selector in _selectors(document):
            if not any(matches(selector, pod_labels) for pod_labels in labels):
                yield f"{name_of(document)}: selects no pod"
    deployments = {document["metadata"]["name"] for document in of_kind(documents, "Deployment")}
    for document in of_kind(documents, "HorizontalPodAutoscaler", "ScaledObject"):
        if document["spec"]["scaleTargetRef"]["name"] not in deployments:
            yield f"{name_of(document)}: scales nothing"


def _selectors(document: dict[str, object]) -> Iterator[dict[str, object]]:
    spec = document.get("spec")
    assert isinstance(spec, dict | None)
    match document["kind"]:
        case "Service":
            yield {"matchLabels": spec["selector"]}
        case "PodDisruptionBudget":
            yield spec["selector"]
        case "NetworkPolicy":
            yield spec["podSelector"]
        case "PodMonitor" if not _is_of_operator(spec["selector"]):
            yield spec["selector"]


def _is_of_operator(selector: dict[str, dict[str, str]]) -> bool:
    return bool({"strimzi.io/cluster", "cnpg.io/cluster"} & set(selector.get("matchLabels", {})))


def referenced(documents: Documents) -> Iterator[str]:
    """Check that the ConfigMaps, Secrets, service accounts and ports that something names exist."""
    maps = {document["metadata"]["name"] for document in of_kind(documents, "ConfigMap")}
    accounts = {document["metadata"]["name"] for document in of_kind(documents, "ServiceAccount")}
    for pod in pods(documents):
        names = {source["configMapRef"]["name"] for c in pod.containers for source in c.get("envFrom", [])}
        yield from (f"{pod.place}: the ConfigMap {name} does not exist" for name in names - maps)
        if pod.spec["serviceAccountName"] not in accounts:
            yield f"{pod.place}: its service account does not exist"
        secrets = {v["secret"]["secretName"] for v in pod.spec["volumes"] if "secret" in v}
        yield from (f"{pod.place}: the Secret {name} is not declared" for name in secrets - DECLARED_SECRETS)
        yield from _mounts(pod, documents)
    services = {document["metadata"]["name"]: document for document in of_kind(documents, "Service")}
    ports = {port["name"] for pod in pods(documents) for c in pod.containers for port in c.get("ports", [])}
    for name, service in services.items():
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield f"Service {name}: no pod has the port {port['targetPort']}"
    for document in of_kind(documents, "TLSRoute", "HTTPRoute"):
        for rule in document["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                offered = services.get(backend["name"], {"spec": {"ports": []}})["spec"]["ports"]
                if backend["port"] not in {port["port"] for port in offered}:
                    yield f"{name_of(document)}: leads to no service"
    for document in of_kind(documents, "PodMonitor"):
        for endpoint in document["spec"]["podMetricsEndpoints"]:
            if not _is_of_operator(document["spec"]["selector"]) and endpoint["port"] not in ports:
                yield f"{name_of(document)}: no pod has the port {endpoint['port']}"


def _mounts(pod: Pod, documents: Documents) -> Iterator[str]:
    """Check that each file that a setting names is in a volume of the pod, and that each volume is mounted."""
    volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
    [container] = pod.containers
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    if set(mounts) != set(volumes):
        yield f"{pod.place}: volumes and mounts differ: {set(mounts) ^ set(volumes)}"
    files = {
        f"{mounts[name]}/{item['path']}"
        for name, volume in volumes.items()
        if name in mounts and "secret" in volume
        for item in volume["secret"].get("items", [{"path": "tls.crt"}, {"path": "tls.key"}])
    }
    needed = {
        value for name, value in environment(pod, documents).items() if value.startswith("/run/mrrlytics/")
    }
    yield from (f"{pod.place}: {path} is no file that it needs" for path in sorted(files - needed))


def no_secrets(documents: Documents) -> Iterator[str]:
    """Check that nothing rendered is a Secret or looks like a key."""
    for document in of_kind(documents, "Secret"):
        yield f"{name_of(document)}: has data"
    for pod in pods(documents):
        for container in pod.containers:
            sources = [
                *container.get("envFrom", []),
                *(v.get("valueFrom", {}) for v in container.get("env", [])),
            ]
            if any({"secretRef", "secretKeyRef"} & set(source) for source in sources):
                yield f"{pod.place}: has a secret in its environment"
    for document in documents:
        for text in _texts(document):
            if _PRIVATE.search(text) or any(_is_key(word) for word in _LONG.findall(text)):
                yield f"{name_of(document)}: has what looks like a key"


def _is_key(word: str) -> bool:
    return len(base64.b64decode(word)) == 32


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for part in value.values():
                yield from _texts(part)
        case list():
            for part in value:
                yield from _texts(part)

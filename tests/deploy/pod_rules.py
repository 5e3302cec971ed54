"""Rules for pods: hardening, shutdown and the number of replicas. Each returns a sentence per broken rule."""

import re
from collections.abc import Iterator

from libs.common.contracts.topics import TOPICS
from tests.deploy.rendering import Documents, Pod, get, name_of, of_kind, pods

# The process needs at most 45 seconds; ten more are in reserve.
STOP_SECONDS = 45
RESERVE_SECONDS = 10
_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
_LEVELS = ("enforce", "audit", "warn")


def restricted(documents: Documents) -> Iterator[str]:
    """Check the restricted profile of Kubernetes, and what we add to it, for each pod and the namespace."""
    labels = get(documents, "Namespace", "mrrlytics")["metadata"]["labels"]
    for level in _LEVELS:
        if labels.get(f"pod-security.kubernetes.io/{level}") != "restricted":
            yield f"the namespace does not {level} the restricted profile"
        if not labels.get(f"pod-security.kubernetes.io/{level}-version", "").startswith("v1."):
            yield f"the namespace has no version for {level}"
    for pod in pods(documents):
        yield from (f"{pod.place}: {finding}" for finding in _of_pod(pod))


def _of_pod(pod: Pod) -> Iterator[str]:
    context = pod.spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True:
        yield "may run as root"
    if {context.get(name) for name in ("runAsUser", "runAsGroup", "fsGroup")} != {10001}:
        yield "does not run as 10001"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if pod.spec.get("automountServiceAccountToken") is not False:
        yield "gets a token of its service account"
    if pod.spec.get("enableServiceLinks") is not False:
        yield "gets the addresses of all services"
    if pod.spec.get("hostNetwork") or pod.spec.get("hostPID") or pod.spec.get("hostIPC"):
        yield "shares a namespace with its host"
    for volume in pod.spec.get("volumes", []):
        if not {"secret", "configMap", "emptyDir", "projected"} & set(volume):
            yield f"mounts {volume['name']} from elsewhere"
        if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield f"may fill {volume['name']} without limit"
        if "secret" in volume and volume["secret"].get("defaultMode") != 0o440:
            yield f"lets others read {volume['name']}"
    for container in pod.containers:
        yield from _of_container(container)


def _of_container(container: dict[str, object]) -> Iterator[str]:
    context = container.get("securityContext") or {}
    assert isinstance(context, dict)
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "may gain privileges"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "can write to its image"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    resources = container.get("resources") or {}
    assert isinstance(resources, dict)
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    if not {"cpu", "memory"} <= set(requests) & set(limits):
        yield "has no requests or limits"
    if requests.get("memory") != limits.get("memory"):
        yield "may be killed for memory that it did not request"


def probed(documents: Documents) -> Iterator[str]:
    """Check that each service has its three probes, and that the liveness probe asks for no dependency."""
    paths = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for pod in pods(documents):
        if pod.kind != "Deployment":
            continue
        for container in pod.containers:
            for probe, path in paths.items():
                request = container.get(probe, {}).get("httpGet", {})
                if (request.get("path"), request.get("port")) != (path, "health"):
                    yield f"{pod.place}: {probe} does not ask {path}"


def stops_in_time(documents: Documents) -> Iterator[str]:
    """Check that a pod has time to stop before it is killed."""
    for pod in pods(documents):
        if pod.kind != "Deployment":
            continue
        for container in pod.containers:
            hook = container.get("lifecycle", {}).get("preStop", {})
            needed = STOP_SECONDS + RESERVE_SECONDS + hook.get("sleep", {}).get("seconds", 0)
            if pod.spec.get("terminationGracePeriodSeconds", 30) < needed:
                yield f"{pod.place}: is killed before {needed} seconds"


def replicas(documents: Documents) -> Iterator[str]:
    """Check budgets, autoscalers and numbers of replicas against each other."""
    scaled = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"]
        for scaler in of_kind(documents, "HorizontalPodAutoscaler", "ScaledObject")
    }
    limited = {
        budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
        for budget in of_kind(documents, "PodDisruptionBudget")
    }
    partitions = max(topic.partitions for topic in TOPICS)
    for document in of_kind(documents, "Deployment"):
        name, spec = document["metadata"]["name"], document["spec"]
        if name in scaled and "replicas" in spec:
            yield f"{name_of(document)}: has replicas, and an autoscaler"
        least = _least(scaled[name]) if name in scaled else spec.get("replicas", 1)
        if least < 1:
            yield f"{name_of(document)}: may have no replica"
        if (least > 1) != (name in limited):
            yield f"{name_of(document)}: has {least} replicas, and {'a' if name in limited else 'no'} budget"
        if spec["strategy"]["rollingUpdate"] != {"maxUnavailable": 0, "maxSurge": 1}:
            yield f"{name_of(document)}: has too few replicas during an update"
    for name, spec in scaled.items():
        if spec.get("maxReplicaCount", 0) > partitions:
            yield f"autoscaler {name}: makes more replicas than there are partitions"


def _least(scaler: dict[str, int]) -> int:
    return scaler.get("minReplicas", scaler.get("minReplicaCount", 0))


def one_digest(documents: Documents) -> Iterator[str]:
    """Check that all pods have the same image, named by its digest. Only some overlays must."""
    images = {container["image"] for pod in pods(documents) for container in pod.containers}
    yield from (f"{image} has no digest" for image in sorted(images) if not _DIGEST.fullmatch(image))
    if len(images) != 1:
        yield f"pods have different images: {sorted(images)}"


def never_latest(documents: Documents) -> Iterator[str]:
    """Check that no image may change behind its name without a new pull."""
    for pod in pods(documents):
        for container in pod.containers:
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            if tag in ("", "latest"):
                yield f"{pod.place}: has the image {container['image']}"
            if container.get("imagePullPolicy") != "IfNotPresent":
                yield f"{pod.place}: has another pull policy"

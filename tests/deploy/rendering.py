"""Render the overlays of deploy/k8s, and look things up in what was rendered."""

import copy
import functools
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
K8S = REPOSITORY / "deploy" / "k8s"
OVERLAYS = ("self-hosted", "external-services", "production", "ci")
SERVICES = ("connector", "gateway", "metrics", "scheduler")

Document = dict[str, Any]
Documents = list[Document]


class Pod(NamedTuple):
    """The template of a pod: the kind and name of what makes it, its labels and its spec."""

    kind: str
    name: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def place(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def component(self) -> str:
        return self.labels.get("app.kubernetes.io/component", "")

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        return [*self.spec["containers"], *self.spec.get("initContainers", [])]


@functools.cache
def render_text(folder: Path) -> str:
    """Return what kubectl makes of a kustomization; it needs no cluster and no network."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(overlay: str) -> Documents:
    """Return the documents of an overlay; each call returns new ones, so a test may change them."""
    return copy.deepcopy(_parsed(overlay))


@functools.cache
def _parsed(overlay: str) -> Documents:
    return parse(render_text(K8S / "overlays" / overlay))


def parse(text: str) -> Documents:
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def of_kind(documents: Documents, *kinds: str) -> Documents:
    return [document for document in documents if document["kind"] in kinds]


def get(documents: Documents, kind: str, name: str) -> Document:
    [document] = [
        document for document in of_kind(documents, kind) if document["metadata"]["name"].startswith(name)
    ]
    return document


def name_of(document: Document) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


def pods(documents: Documents) -> Iterator[Pod]:
    """Yield the template of each pod of ours."""
    for document in of_kind(documents, "Deployment", "Job", "CronJob"):
        spec = document["spec"]
        template = (spec["jobTemplate"]["spec"] if document["kind"] == "CronJob" else spec)["template"]
        yield Pod(
            document["kind"], document["metadata"]["name"], template["metadata"]["labels"], template["spec"]
        )


def config_map(documents: Documents) -> dict[str, str]:
    """Return the settings that all pods have in common."""
    data: dict[str, str] = get(documents, "ConfigMap", "mrrlytics-config")["data"]
    return data


def environment(pod: Pod, documents: Documents) -> dict[str, str]:
    """Return the variables of a pod's only container."""
    [container] = pod.containers
    shared = config_map(documents) if container.get("envFrom") else {}
    return shared | {variable["name"]: variable["value"] for variable in container.get("env", [])}


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a label selector selects these labels."""
    required = selector.get("matchLabels", {})
    if any(labels.get(name) != value for name, value in required.items()):
        return False
    for rule in selector.get("matchExpressions", []):
        value = labels.get(rule["key"])
        is_match = {
            "In": value in rule.get("values", ()),
            "NotIn": value not in rule.get("values", ()),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[rule["operator"]]
        if not is_match:
            return False
    return True

"""Test that every overlay of deploy/k8s keeps every rule, and that the files are the ones that the README promises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from libs.common.version import VERSION
from services.connector.whmcs import egress
from tests.deploy import alert_rules, code_rules, network_rules, pod_rules, reference_rules
from tests.deploy.rendering import (
    K8S,
    OVERLAYS,
    REPOSITORY,
    get,
    name_of,
    of_kind,
    parse,
    render,
    render_text,
)

RULES = [
    *(pod_rules.restricted, pod_rules.probed, pod_rules.stops_in_time, pod_rules.replicas),
    pod_rules.never_latest,
    *(reference_rules.selected, reference_rules.referenced, reference_rules.no_secrets),
    *(network_rules.closed_by_default, network_rules.internet_for_connector),
    *(code_rules.known_settings, code_rules.topics, code_rules.rights, code_rules.only_tls),
    *(alert_rules.actionable, alert_rules.tested, alert_rules.usable_dashboards),
]
SCHEMAS = REPOSITORY / "tests" / "deploy" / "schemas"
BUILT_IN = {"apps", "autoscaling", "batch", "networking.k8s.io", "policy"}
COMPONENTS = {
    *("kafka-strimzi", "postgres-cnpg", "autoscaling-keda", "external-secrets", "certificates"),
    *("expose-passthrough", "expose-terminate", "expose-ingress", "monitoring", "telemetry"),
}
BASE = {
    *("kustomization", "namespace", "serviceaccounts", "gateway", "scheduler", "connector", "metrics"),
    *("migrate-job", "maintenance-cronjobs", "networkpolicies"),
}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_overlay_keeps_the_rule(overlay: str, rule: object) -> None:
    assert list(rule(render(overlay))) == []  # type: ignore[operator]


@pytest.mark.parametrize("overlay", ["self-hosted", "production", "ci"])
def test_network_policies_equal_the_table(overlay: str) -> None:
    assert list(network_rules.equals_table(render(overlay))) == []


@pytest.mark.parametrize("overlay", ["production", "ci"])
def test_images_have_one_digest(overlay: str) -> None:
    assert list(pod_rules.one_digest(render(overlay))) == []


BLOCKS = [
    peer["ipBlock"]
    for rule in get(render("production"), "NetworkPolicy", "connector")["spec"]["egress"]
    for peer in rule["to"]
    if "ipBlock" in peer
]


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_policy_closes_all_that_the_connector_refuses(address: object) -> None:
    mapped = getattr(address, "ipv4_mapped", None)
    if not egress.is_allowed(str(address)) and mapped is None:
        assert not any(network_rules.is_open(block, str(address)) for block in BLOCKS)


@pytest.mark.parametrize("text", network_rules.REFUSED)
def test_connector_refuses_the_examples_itself(text: str) -> None:
    assert not egress.is_allowed(text)


def test_files_are_those_of_the_layout() -> None:
    assert {path.stem for path in (K8S / "base").glob("*.yaml")} == BASE
    assert (K8S / "base" / "config.env").exists()
    assert {path.name for path in (K8S / "components").iterdir()} == COMPONENTS
    assert {path.name for path in (K8S / "overlays").iterdir()} == set(OVERLAYS)
    assert (K8S / "README.md").exists()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_custom_resources_match_their_schemas(overlay: str) -> None:
    findings = []
    for document in render(overlay):
        group, _, version = document["apiVersion"].rpartition("/")
        if not group or (group in BUILT_IN and document["kind"] != "Gateway"):
            continue
        schema = SCHEMAS / group / f"{document['kind'].lower()}_{version}.json"
        assert schema.exists(), f"no schema for {name_of(document)}"
        validator = Draft7Validator(json.loads(schema.read_text(encoding="utf-8")))
        findings += [
            f"{name_of(document)}: {error.json_path}: {error.message}"
            for error in validator.iter_errors(document)
        ]
    assert findings == []


def test_misspelt_field_of_a_custom_resource_fails() -> None:
    topic = of_kind(render("production"), "KafkaTopic")[0]
    topic["spec"]["partition"] = topic["spec"].pop("partitions")
    schema = json.loads((SCHEMAS / "kafka.strimzi.io" / "kafkatopic_v1.json").read_text(encoding="utf-8"))

    assert not Draft7Validator(schema).is_valid(topic)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_and_labels_have_the_version(overlay: str) -> None:
    documents = render(overlay)

    assert get(documents, "Job", "migrate")["metadata"]["name"] == f"migrate-{VERSION.replace('.', '-')}"
    labels = {d["metadata"]["labels"]["app.kubernetes.io/version"] for d in of_kind(documents, "Deployment")}
    assert labels == {VERSION}


def test_ci_overlay_has_every_component() -> None:
    kustomization = parse((K8S / "overlays" / "ci" / "kustomization.yaml").read_text(encoding="utf-8"))[0]

    assert {path.rpartition("/")[2] for path in kustomization["components"]} == COMPONENTS


def test_overlays_render_the_same_each_time() -> None:
    text = render_text(K8S / "overlays" / "ci")
    render_text.cache_clear()

    assert render_text(K8S / "overlays" / "ci") == text

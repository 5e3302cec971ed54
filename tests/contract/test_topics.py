"""The topics are a public interface: recorded messages stay readable, and published schemas stay valid."""

import ast
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from libs.common.contracts import topics
from libs.common.contracts.billing import Kind, parse_fact_key
from libs.common.contracts.envelope import partition_of
from libs.common.contracts.facts import read_fact
from libs.common.contracts.received import MessageReader
from libs.common.contracts.topics import BY_NAME, NOT_SENT_YET, TOPICS, Topic
from tools.docs.compatibility import breaking_changes
from tools.docs.pages import asyncapi, broken_promises, generated, schemas

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "tests" / "contract" / "examples"
RECORDED = sorted(EXAMPLES.glob("*/*.json"))
RECORDED_BY = datetime(2100, 1, 1, tzinfo=UTC)
MESSAGES = [(topic, name) for topic in TOPICS for name in topic.messages]
each_example = pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.stem}")


def read(path: Path) -> tuple[Topic, dict[str, Any]]:
    return BY_NAME[path.parent.name], json.loads(path.read_text(encoding="utf-8"))


@each_example
def test_recorded_messages_stay_readable(path: Path) -> None:
    topic, example = read(path)
    headers = [(name, value.encode()) for name, value in example["headers"].items()]
    key, value = (
        example["key"].encode(),
        None if example["body"] is None else json.dumps(example["body"]).encode(),
    )

    if topic.kinds:
        assert read_fact(topic, key, value, headers, RECORDED_BY) is not None
    else:
        assert MessageReader(topic).read(key, value, headers, RECORDED_BY) is not None
    assert example["headers"]["ce_type"] == path.stem.split(".")[0]
    assert example["key"] == example["headers"]["ce_subject"]


@each_example
def test_headers_of_recorded_messages_are_documented(path: Path) -> None:
    topic, example = read(path)
    documented = asyncapi()["components"]["messages"][example["headers"]["ce_type"]]["headers"]

    Draft202012Validator(documented | {"additionalProperties": False}).validate(example["headers"])
    UUID(example["headers"]["ce_organization"])
    UUID(example["headers"]["ce_instance"])
    assert example["headers"]["ce_source"] in topic.publishers


@pytest.mark.parametrize("path", [path for path in RECORDED if path.parent.name.startswith("billing.")])
def test_recorded_fact_has_key_version_and_fingerprint(path: Path) -> None:
    topic, example = read(path)
    headers = example["headers"]
    instance_id, kind, entity_id = parse_fact_key(example["key"])

    assert (str(instance_id), kind in topic.kinds) == (headers["ce_instance"], True)
    assert headers["ce_id"] == f"{example['key']}@{headers['ce_epoch']}.{headers['ce_seq']}"
    assert ("ce_fingerprint" in headers) is (example["body"] is not None)
    assert example["body"] is None or example["body"]["id"] == entity_id


@each_example
def test_recorded_bodies_pass_the_published_schema(path: Path) -> None:
    _, example = read(path)
    schema = REPOSITORY / "docs" / "topics" / f"{example['headers']['ce_type']}.schema.json"

    if example["body"] is not None:
        Draft202012Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(example["body"])


@pytest.mark.rule("E6")
@each_example
def test_reader_ignores_fields_of_a_later_version(path: Path) -> None:
    topic, example = read(path)
    adapter = TypeAdapter(topic.messages[example["headers"]["ce_type"]])

    if example["body"] is not None:
        later = json.dumps(example["body"] | {"a_field_of_the_future": {"of": ["any", "shape"]}})
        assert adapter.validate_json(later) == adapter.validate_json(json.dumps(example["body"]))


@pytest.mark.parametrize(("topic", "name"), MESSAGES, ids=lambda value: getattr(value, "name", value))
def test_every_message_of_every_topic_has_an_example(topic: Topic, name: str) -> None:
    assert (EXAMPLES / topic.name / f"{name}.json").exists()


def test_examples_include_every_kind_and_a_tombstone() -> None:
    facts = [example for topic, example in map(read, RECORDED) if topic.kinds]

    assert {parse_fact_key(example["key"])[1] for example in facts} == set(Kind)
    assert any(example["body"] is None for example in facts)


def test_the_generated_pages_are_current() -> None:
    old = [
        str(path.relative_to(REPOSITORY))
        for path, text in generated(REPOSITORY).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]

    assert old == [], "run `.venv/bin/python -m tools.docs`"


def test_present_models_keep_the_published_schemas() -> None:
    assert broken_promises(REPOSITORY) == []


def test_removed_message_breaks_its_published_schema(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "topics"
    folder.mkdir(parents=True)
    (folder / "OrderChanged.schema.json").write_text("{}")

    assert broken_promises(tmp_path) == ["OrderChanged: the message was removed"]


def test_references_of_the_asyncapi_document_exist() -> None:
    document = asyncapi()

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            reference = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return reference + [inner for value in part.values() for inner in references(value)]
        return []

    for reference in references(document):
        if reference.startswith("#/"):
            place: Any = document
            for step in reference.removeprefix("#/").split("/"):
                place = place[step]
        else:
            assert (REPOSITORY / "docs" / "topics" / reference).is_file()


def test_publishers_make_every_message_except_not_sent_yet() -> None:
    unsent = {
        name for topic, name in MESSAGES if not any(name in names_in(service) for service in topic.publishers)
    }

    assert unsent == set(NOT_SENT_YET)


@pytest.mark.parametrize("service", ["gateway", "scheduler", "connector", "metrics"])
def test_a_service_uses_only_topics_that_name_it(service: str) -> None:
    used = names_in(service)
    by_constant = {name: value for name, value in vars(topics).items() if isinstance(value, Topic)}

    named = {name for name, topic in by_constant.items() if service in (*topic.publishers, *topic.consumers)}

    assert used & by_constant.keys() <= named
    assert used & {*by_constant, "BILLING"}


@cache
def names_in(service: str) -> set[str]:
    """Return every name and attribute in the code of a service."""
    nodes = [
        node
        for path in (REPOSITORY / "services" / service).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute)
    }


def test_partition_is_the_standard_crc32() -> None:
    # The check value that the definition of CRC-32 gives for these nine digits.
    assert partition_of(b"123456789", 12) == 0xCBF43926 % 12


PERSON = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "born_on": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "level": {"enum": ["low", "high"], "type": "string"},
        "points": {"type": "array", "items": {"$ref": "#/$defs/Points"}},
    },
    "$defs": {"Points": {"type": "integer", "minimum": 0}},
}


def changed(name: str, part: Any) -> dict[str, Any]:
    return PERSON | {"properties": PERSON["properties"] | {name: part}}


@pytest.mark.parametrize(
    "later",
    [
        PERSON,
        changed("nickname", {"type": "string"}),
        changed("name", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        changed("level", {"enum": ["low", "middle", "high"], "type": "string"}),
        changed("level", {"type": "string"}),
        changed("points", {"type": "array", "items": {"type": "number"}}),
        PERSON | {"required": []},
    ],
)
def test_addition_is_compatible(later: dict[str, Any]) -> None:
    assert breaking_changes(PERSON, later) == []


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (
            PERSON | {"properties": {"name": {"type": "string"}}},
            ["born_on: was removed", "level: was removed", "points: was removed"],
        ),
        (PERSON | {"required": ["name", "level"]}, ["level: is newly required"]),
        (changed("name", {"type": "integer"}), ["name: the type string is no longer accepted"]),
        (
            changed("born_on", {"type": "string", "format": "date"}),
            ["born_on: the type null is no longer accepted"],
        ),
        (changed("level", {"enum": ["high"], "type": "string"}), ["level: 'low' is no longer accepted"]),
        (changed("name", {"const": "x"}), ["name: values other than ['x'] are no longer accepted"]),
        (changed("name", {"type": "string", "maxLength": 9}), ["name: the limit maxLength is narrower"]),
        (changed("name", {"type": "string", "pattern": "^a"}), ["name: the pattern has changed"]),
        (
            PERSON | {"$defs": {"Points": {"type": "integer", "minimum": 1}}},
            ["points[]: the limit minimum is narrower"],
        ),
    ],
)
def test_breaking_change_is_named(later: dict[str, Any], said: list[str]) -> None:
    assert breaking_changes(PERSON, later) == said


@pytest.mark.parametrize(("name", "schema"), schemas().items())
def test_empty_schema_breaks_every_field(name: str, schema: dict[str, Any]) -> None:
    assert breaking_changes(schema, schema) == []
    assert len(breaking_changes(schema, {"type": "object"})) == len(schema["properties"]), name

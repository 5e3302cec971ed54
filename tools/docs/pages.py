"""The generated pages as text: JSON Schemas, AsyncAPI and the list of topics, and the table of settings."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from libs.common.contracts.envelope import MAX_RECORD_BYTES
from libs.common.contracts.topics import NOT_SENT_YET, TOPICS, Topic
from tools.docs.compatibility import breaking_changes

_HEADERS: Final = {
    "ce_specversion": '"1.0"',
    "ce_id": "identity of the message: a repeat has the same; of a fact `<key>@<epoch>.<seq>`",
    "ce_type": "name of the message, and of its schema",
    "ce_source": "the service that sent it",
    "ce_time": "when it was sent, UTC",
    "ce_subject": "the record's key",
    "ce_dataschema": "`urn:mrrlytics:schema:<ce_type>`",
    "ce_organization": "id of the organization",
    "ce_instance": "id of the instance",
    "content-type": "`application/json`",
}
_FACT_HEADERS: Final = {
    "ce_epoch": "first half of the version: an integer, greater with each lease on the instance",
    "ce_seq": "second half of the version: an integer, greater with each request within the lease",
    "ce_observedat": "when the page that it stood on was asked for, UTC",
}
_OPTIONAL_HEADERS: Final = {"traceparent": "W3C trace context"}
_OPTIONAL_FACT_HEADERS: Final = {"ce_fingerprint": "sha256 of the body, in hex; absent on a tombstone"}
_SETTINGS: Final = re.compile(r"(<!-- settings -->\n).*(<!-- end of settings -->)", re.DOTALL)


def generated(repository: Path) -> dict[Path, str]:
    """Every generated page of the repository, and the text that it should have."""
    folder = repository / "docs" / "topics"
    pages = {folder / f"{name}.schema.json": _json(schema) for name, schema in schemas().items()}
    operations = repository / "docs" / "operations.md"
    example = (repository / ".env.example").read_text(encoding="utf-8")
    table = "\n".join(["| setting | value in the example | meaning |", "|---|---|---|", *_settings(example)])
    text = operations.read_text(encoding="utf-8")
    return pages | {
        folder / "asyncapi.json": _json(asyncapi()),
        folder / "README.md": _readme(),
        operations: _SETTINGS.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text),
    }


def broken_promises(repository: Path) -> list[str]:
    """What the present models take away from the schemas that are published in the repository."""
    broken = []
    present = schemas()
    for path in sorted((repository / "docs" / "topics").glob("*.schema.json")):
        name = path.name.removesuffix(".schema.json")
        if name not in present:
            broken.append(f"{name}: the message was removed")
            continue
        published = json.loads(path.read_text(encoding="utf-8"))
        broken += [f"{name}: {change}" for change in breaking_changes(published, present[name])]
    return broken


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema of every message's body, by name, as readers accept it: what later versions added is not required."""
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:mrrlytics:schema:{name}",
            **TypeAdapter(shape).json_schema(),
        }
        for topic in TOPICS
        for name, shape in topic.messages.items()
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of all topics."""
    messages = {
        name: {
            "name": name,
            "summary": _first_line(shape.__doc__ or name),
            "contentType": "application/json",
            "headers": _headers_schema(is_fact=bool(topic.kinds)),
            "payload": {"$ref": f"./{name}.schema.json"},
            "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}}},
        }
        for topic in TOPICS
        for name, shape in topic.messages.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "MRRlytics",
            "version": "1.0.0",
            "description": "Billing facts, commands and events of MRRlytics on Apache Kafka. "
            "Within a topic changes are additive only; a breaking change is a new topic.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": dict(_operations()),
        "components": {"messages": messages},
    }


def _channel(topic: Topic) -> dict[str, Any]:
    configuration: dict[str, Any] = {
        name: value.split(",") if name == "cleanup.policy" else int(value)
        for name, value in topic.config.items()
    }
    return {
        "address": topic.name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in topic.messages},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": configuration,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for topic in TOPICS:
        for action, verb, services in (
            ("send", "publishes", topic.publishers),
            ("receive", "reads", topic.consumers),
        ):
            for service in services:
                yield (
                    f"{service}.{verb}.{topic.name}",
                    {"action": action, "channel": {"$ref": f"#/channels/{topic.name}"}},
                )


def _headers_schema(*, is_fact: bool) -> dict[str, Any]:
    always = _HEADERS | (_FACT_HEADERS if is_fact else {})
    sometimes = _OPTIONAL_HEADERS | (_OPTIONAL_FACT_HEADERS if is_fact else {})
    return {
        "type": "object",
        "properties": {
            name: {"type": "string", "description": text} for name, text in (always | sometimes).items()
        },
        "required": list(always),
    }


def _readme() -> str:
    topics = "\n".join(
        f"| `{topic.name}` | {_code(topic.key)} | {topic.partitions} | {_cleanup(topic.config)} "
        f"| {', '.join(f'[{name}]({name}.schema.json)' for name in topic.messages) or 'any, as they were'} "
        f"| {', '.join(topic.publishers)} | {', '.join(topic.consumers) or 'for you'} |"
        for topic in TOPICS
    )
    kinds = "\n".join(f"| `{kind}` | `{topic.name}` |" for topic in TOPICS for kind in sorted(topic.kinds))
    return f"""# Topics

Generated by `python -m tools.docs` from `libs/common/contracts/topics.py`; do not edit.

A public interface: consumers of your own are welcome. The same for tools: [asyncapi.json](asyncapi.json).

| topic | key | partitions | kept | messages | published by | read by |
|---|---|---|---|---|---|---|
{topics}

Described, but sent by nobody yet: {", ".join(f"`{one}`" for one in NOT_SENT_YET)}. Nor is there a tombstone for a row that is
deleted in WHMCS alone: so far only the removal of an instance makes tombstones.

## Reading facts

The topics `billing.*` are compacted and hold the whole present state of every row: read them from the start and you
have it, without access to WHMCS. The key is `<instance>:<kind>:<id>`; an empty body (a tombstone) means that the row
is gone.

| kind | topic |
|---|---|
{kinds}

* Every fact, tombstones too, has a version in its headers: the pair of integers (`ce_epoch`, `ce_seq`). Keep the
  greatest pair per key and pass over the others: then repeats, late and shuffled records change nothing.
* There is no order across keys, so depend on none. An invoice and its lines are two facts; join them by id.
* All keyed records are in partition crc32(key) modulo the number of partitions.
* Amounts are integer micros, the millionth part of the customer's currency. A field that ends in `_on` is a date, one
  that ends in `_at` in a billing fact WHMCS's local time in the instance's time zone; elsewhere times are UTC.
* Fields are only added, and unknown ones are to be ignored. A breaking change is a new topic.

## Headers

[CloudEvents 1.0](https://cloudevents.io) in Kafka's binary mode: the body is JSON, all else is in headers.

| header | holds |
|---|---|
{_rows(_HEADERS | _OPTIONAL_HEADERS)}

Billing facts also have:

| header | holds |
|---|---|
{_rows(_FACT_HEADERS | _OPTIONAL_FACT_HEADERS)}

A record on `dead-letter` has the key, body and headers that it came with, and `dl_topic`, `dl_partition`, `dl_offset`,
`dl_group`, `dl_code` and `dl_reason`: where it came from, who could not apply it, and why. What is too large for a record is cut; then
`dl_truncated` is `true`, and `dl_size` and `dl_sha256` are those of the whole body.

## What is refused

A consumer parks a record when one of these does not hold, and passes over a type that the topic does not list:

* Each `ce_` header comes once and is UTF-8. Organization and instance are UUIDs in lower case; the instance belongs to the organization.
* The key is exactly as the table says, and names the same instance and row as headers and body.
* `ce_time`, `ce_observedat` and moments in bodies have an offset and lie between the years 2000 and 2200. Neither they nor an epoch lie
  more than a day ahead.
* Numbers fit into 64 bits; counts, offsets, epochs and versions are not negative. Names and codes have at most 500 characters; no text has
  the character 0. The body of a fact has the JSON types of its schema: `7` is a number, `"7"` and `7.0` are not.
* A record has at most {MAX_RECORD_BYTES // 1024} KiB.
"""


def _cleanup(config: Mapping[str, str]) -> str:
    if config["cleanup.policy"] == "compact":
        return "newest per key"
    days = int(config["retention.ms"]) // 86_400_000
    return "1 day" if days == 1 else f"{days} days"


def _code(key: str) -> str:
    return f"`{key}`" if key.startswith("<") else key


def _rows(values: Mapping[str, str]) -> str:
    return "\n".join(f"| `{name}` | {text} |" for name, text in values.items())


def _settings(example: str) -> Iterator[str]:
    """A row per setting of .env.example: comment lines say what the setting below them means."""
    meaning: list[str] = []
    for line in example.splitlines():
        if found := re.fullmatch(r"#?(MRRLYTICS_[A-Z_]+)=(.*)", line):
            value = f"`{found[2]}`" if found[2] else ""
            yield f"| `{found[1]}` | {value} | {' '.join(meaning)} |"
            meaning = []
        elif line.startswith("# "):
            meaning.append(line.removeprefix("# "))
        else:
            meaning = []


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0]


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"

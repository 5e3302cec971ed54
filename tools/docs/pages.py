"""Write the generated pages as text: JSON Schemas, AsyncAPI, the page of topics, and the tables of settings, failures and metrics."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from libs.common.contracts.envelope import MAX_RECORD_BYTES
from libs.common.contracts.failures import FAILURES, Category
from libs.common.contracts.topics import NOT_SENT_YET, TOPICS, Topic
from libs.common.figures.catalogue import METRICS
from tools.docs.compatibility import breaking_changes
from tools.docs.deployment import deployment_files

_HEADERS: Final = {
    "ce_specversion": '"1.0"',
    "ce_id": "id of the message, the same when it is sent again; of a fact `<key>@<epoch>.<seq>`",
    "ce_type": "name of the message, and of its schema",
    "ce_source": "service that sent it",
    "ce_time": "time of sending, UTC",
    "ce_subject": "key of the record",
    "ce_dataschema": "`urn:mrrlytics:schema:<ce_type>`",
    "ce_organization": "id of the organization",
    "ce_instance": "id of the instance",
    "content-type": "`application/json`",
}
_FACT_HEADERS: Final = {
    "ce_epoch": "first half of the version: an integer, greater with each lease on the instance",
    "ce_seq": "second half of the version: an integer, greater with each request within the lease",
    "ce_observedat": "time of the request to WHMCS whose answer had the row, UTC",
}
_FIRST_STEPS: Final = {
    Category.CONNECTION: "MRRlytics did not reach the API of your WHMCS, or something in front of it answered. Open the address in a "
    "browser first: if that fails too, the trouble is not between MRRlytics and WHMCS.",
    Category.AUTHENTICATION: "WHMCS answered and refused. Compare the user, the role, the credential and the allowed address with the "
    "four steps above.",
    Category.TIMEOUT: "WHMCS was asked and did not answer in time. MRRlytics keeps what it has read and asks for less at a time.",
    Category.NO_DATA: "The sync worked, and there is nothing to show. Compare the role with the list of actions above, and look at the "
    "page of the sync: it lists what was skipped and what could not be read.",
}
_OPTIONAL_HEADERS: Final = {"traceparent": "W3C trace context"}
_OPTIONAL_FACT_HEADERS: Final = {"ce_fingerprint": "sha256 of the body, in hex; absent on a tombstone"}


def generated(repository: Path) -> dict[Path, str]:
    """Return every generated page of the repository with the text that it should have."""
    folder = repository / "docs" / "topics"
    pages = {folder / f"{name}.schema.json": _json(schema) for name, schema in schemas().items()}
    example = (repository / ".env.example").read_text(encoding="utf-8")
    settings = ["| setting | value in the example | meaning |", "|---|---|---|", *_settings(example)]
    metrics = [
        "| metric | title | meaning | formula | parts sum to the total |",
        "|---|---|---|---|---|",
        *_metrics(),
    ]
    return pages | {
        folder / "asyncapi.json": _json(asyncapi()),
        folder / "README.md": _readme(),
        **deployment_files(repository),
        **_with_table(repository / "docs" / "operations.md", "settings", settings),
        **_with_table(repository / "docs" / "whmcs.md", "failures", _failures()),
        **_with_table(repository / "docs" / "metrics.md", "metrics", metrics),
    }


def broken_promises(repository: Path) -> list[str]:
    """Return how the present models break the schemas that are published in the repository."""
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
    """Return the JSON Schema of every message's body, by name. Fields that later versions added are not required."""
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
    """Return the AsyncAPI 3.0 document of all topics."""
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
        f"| {', '.join(f'[{name}]({name}.schema.json)' for name in topic.messages) or 'any, unchanged'} "
        f"| {', '.join(topic.publishers)} | {', '.join(topic.consumers) or 'for you'} |"
        for topic in TOPICS
    )
    kinds = "\n".join(f"| `{kind}` | `{topic.name}` |" for topic in TOPICS for kind in sorted(topic.kinds))
    return f"""# Topics

`python -m tools.docs` writes this page from `libs/common/contracts/topics.py`; do not edit it.

The topics are a public interface: you may read them with your own consumers. [asyncapi.json](asyncapi.json) says the same for tools.

| topic | key | partitions | kept | messages | published by | read by |
|---|---|---|---|---|---|---|
{topics}

These messages are described, but no service sends them yet: {", ".join(f"`{name}`" for name in NOT_SENT_YET)}.

## Reading facts

The topics `billing.*` are compacted. They hold the whole present state of every row, so read them from the start and you have it all,
without access to WHMCS. The key is `<instance>:<kind>:<id>`. An empty body (a tombstone) means that the row no longer exists:
WHMCS said so, or the instance was deleted. Kafka keeps a tombstone for 30 days, so a consumer that was away for longer starts anew.

| kind | topic |
|---|---|
{kinds}

* Every fact, tombstones too, has a version in its headers: the pair of integers (`ce_epoch`, `ce_seq`). Store the greatest pair per key
  and ignore a fact whose pair is not greater. Then facts that arrive twice, late or out of order change nothing.
* Facts with different keys have no order. Do not depend on one: an invoice and its lines are two facts, so join them by id.
* The partition of a keyed record is crc32(key) modulo the number of partitions.
* Amounts are integer micros: millionths of the customer's currency. A field that ends in `_on` is a date. A field that ends in `_at` is
  WHMCS's local time in the time zone of the instance in a billing fact, and UTC elsewhere.
* New versions only add fields, so ignore fields that you do not know. A breaking change gets a new topic.

## Reading movements

`metrics.movements` has the movements of each customer and day by the lens `contract`, as [metrics](../metrics.md#movements) defines
them. A record replaces all movements of its key, the customer and the day; one without a body says that none is left. So keep the newest
record per key and add nothing up while you read. A day is sent once all kinds are known on it, and again when it changes. The sum of
all movements is the MRR of the last such day.

[movements_consumer.py](movements_consumer.py) is a whole consumer. It needs `aiokafka` and the address of Kafka.

## Headers

Records use [CloudEvents 1.0](https://cloudevents.io) in Kafka's binary mode: the body is JSON, everything else is in headers.

| header | holds |
|---|---|
{_rows(_HEADERS | _OPTIONAL_HEADERS)}

Billing facts also have:

| header | holds |
|---|---|
{_rows(_FACT_HEADERS | _OPTIONAL_FACT_HEADERS)}

A record on `dead-letter` has its original key, body and headers, and also `dl_topic`, `dl_partition`, `dl_offset`, `dl_group`, `dl_code`
and `dl_reason`: where it came from, which consumer could not apply it, and why. A body that is too large for a record is cut. Then
`dl_truncated` is `true`, and `dl_size` and `dl_sha256` describe the whole body.

## What consumers refuse

A consumer ignores a type that the topic does not list. It parks a record on `dead-letter` if one of these rules is broken:

* Each `ce_` header occurs once and is UTF-8. Organization and instance are UUIDs in lower case. The instance belongs to the
  organization.
* The key has exactly the form in the table above, and names the same instance and row as headers and body.
* `ce_time`, `ce_observedat` and times in bodies have an offset and lie between the years 2000 and 2200. These times and the epoch lie at
  most a day in the future.
* Numbers fit into 64 bits. Counts, offsets, epochs and versions are not negative. Names and codes have at most 500 characters. No text has
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


def _with_table(page: Path, name: str, lines: Iterable[str]) -> dict[Path, str]:
    """Return the page with `lines` between its comments `name` and `end of name`."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    return {page: "".join([before, begin, *(f"{line}\n" for line in lines), end, rest.partition(end)[2]])}


def _failures() -> Iterator[str]:
    """Yield a section with a table for each of the four names under which people look for help."""
    for category in Category:
        yield from (f"### {category}", "", _FIRST_STEPS[category], "")
        yield from ("| code | text and next step | tried again |", "|---|---|---|")
        for code, failure in FAILURES.items():
            if failure.category is category:
                yield f"| `{code}` | {failure.text} | {failure.retry.replace('next_tick', 'next sync')} |"
        yield ""


def _metrics() -> Iterator[str]:
    for metric in METRICS:
        additive = "yes" if metric.additive else "no"
        yield f"| `{metric.slug}` | {metric.title} | {metric.words} | `{metric.written}` | {additive} |"


def _settings(example: str) -> Iterator[str]:
    """Yield a row for each setting of .env.example. The comment lines above a setting explain it."""
    meaning: list[str] = []
    for line in example.splitlines():
        if match := re.fullmatch(r"#?(MRRLYTICS_[A-Z_]+)=(.*)", line):
            value = f"`{match[2]}`" if match[2] else ""
            yield f"| `{match[1]}` | {value} | {' '.join(meaning)} |"
            meaning = []
        elif line.startswith("# "):
            meaning.append(line.removeprefix("# "))
        else:
            meaning = []


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0]


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"

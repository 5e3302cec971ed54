"""Records that no service can handle, for every topic with consumers, each with the name of its fault."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import orjson

from libs.common.contracts import topics
from libs.common.contracts.billing import Kind
from libs.common.contracts.commands import RunSync, SyncMode, SyncTrigger
from libs.common.contracts.envelope import MAX_RECORD_BYTES
from libs.common.contracts.sync import Outcome, SyncSucceeded
from libs.common.contracts.topics import Topic
from tests.builders import FIRST_SEEN, INSTANCE, ORGANIZATION, fact, instance, message_record

EXAMPLES = Path(__file__).parent / "contract" / "examples"
CONSUMED: Final = tuple(topic for topic in topics.TOPICS if topic.consumers and topic is not topics.ALERTS)
FOREIGN: Final = UUID("77777777-7777-4777-8777-777777777777")

# By topic: a field with a text, and a field with a number.
_FIELDS: Final[Mapping[str, tuple[str, str]]] = {
    "instances": ("name", "version"),
    "sync.commands": ("trigger", "scheduled_for"),
    "sync.events": ("bad_rows", "positions"),
    "billing.customers": ("status", "group_id"),
    "billing.subscriptions": ("label", "recurring_micros"),
    "billing.products": ("name", "group_id"),
    "billing.invoices": ("status", "customer_id"),
    "billing.transactions": ("gateway", "customer_id"),
    "billing.cancellations": ("type", "service_id"),
    "billing.currencies": ("code", "id"),
    "billing.promotions": ("code", "recurs_for"),
}


class Raw(NamedTuple):
    """A record as any Kafka client could write it."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    def with_header(self, name: str, value: bytes | None) -> "Raw":
        return self._replace(headers=(*(pair for pair in self.headers if pair[0] != name), (name, value)))

    def without_header(self, name: str) -> "Raw":
        return self._replace(headers=tuple(pair for pair in self.headers if pair[0] != name))


def good(topic: Topic, number: int) -> Raw:
    """Return a record that its consumers apply. A greater number makes a newer fact or instance."""
    if topic.kinds:
        body = _example(topic) | {"id": 7}
        record = fact(topic.kinds[0], body, seq=number)
        return Raw(record.key, record.value, tuple(record.headers))
    match topic:
        case topics.INSTANCES:
            message: Any = instance(number)
        case topics.SYNC_COMMANDS:
            message = RunSync(
                command_id=uuid4(),
                instance_id=INSTANCE,
                mode=SyncMode.FULL,
                trigger=SyncTrigger.MANUAL,
                scheduled_for=FIRST_SEEN,
            )
        case _:
            message = SyncSucceeded(
                run_id=uuid4(),
                mode=SyncMode.FULL,
                started_at=FIRST_SEEN,
                outcome=Outcome.COMPLETE,
                counts={"service": number},
                changes={},
                positions={"billing.customers": {0: 2**40}},
            )
    record = message_record(topic, message)
    return Raw(record.key, record.value, tuple(record.headers))


def _example(topic: Topic) -> dict[str, Any]:
    """Return the body of a recorded fact of the topic's first kind."""
    for path in sorted((EXAMPLES / topic.name).glob("*.json")):
        example = json.loads(path.read_text(encoding="utf-8"))
        if example["body"] is not None and f":{topic.kinds[0]}:" in example["key"]:
            body: dict[str, Any] = example["body"]
            return body
    raise AssertionError(f"no recorded example of {topic.name}")


def poisons(topic: Topic, number: int) -> Iterator[tuple[str, Raw]]:
    """Yield a good record with each possible fault. Every consumer must park each of them once."""
    record = good(topic, number)
    body = orjson.loads(record.value or b"")
    for name, value in _bodies(topic, body):
        yield name, record._replace(value=value)
    for name, change in _HEADERS.items():
        yield name, change(record)
    for name, value in _moments().items():
        yield f"sent at {name}", record.with_header("ce_time", value)
    for name, key in _KEYS.items():
        # Kafka itself refuses records without a key for compacted topics.
        if key is not None or topic.config["cleanup.policy"] != "compact":
            yield name, record._replace(key=key)
    if topic.kinds:
        yield from _of_facts(topic, record, body)
    else:
        yield "a tombstone where none belongs", record._replace(value=None)


def harmless(topic: Topic, number: int) -> Iterator[tuple[str, Raw]]:
    """Yield records that look odd, and that consumers must apply or ignore."""
    record = good(topic, number)
    yield "an unknown type is passed over", record.with_header("ce_type", b"OrderChanged")
    for name, value in {
        "a binary header of others": ("other", b"\xff\x00\xfe"),
        "a header without a value": ("other", None),
        "a reply is asked for": ("reply_to", b"dead-letter"),
        "a correlation that is no text": ("correlation_id", b"\xff"),
        "a broken trace": ("traceparent", b"\x00-\xff"),
        "a content type that is no text": ("content-type", b"\xff"),
    }.items():
        yield name, record.with_header(*value)
    yield (
        "an unknown field",
        record._replace(value=_with(orjson.loads(record.value or b""), later=[1, {"a": None}])),
    )


def _with(body: dict[str, Any], **fields: Any) -> bytes:
    """Return the body with other fields, also with numbers that JSON does not allow."""
    return json.dumps(body | fields).encode()


def _bodies(topic: Topic, body: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    text, number = _FIELDS[topic.name]
    whole = json.dumps(body).encode()
    yield "an empty body", b""
    yield "no JSON", b"{"
    yield "half a body", whole[: len(whole) // 2]
    yield "two bodies", whole + whole
    yield "null", b"null"
    yield "a list", b"[%b]" % whole
    yield "a text", b'"instance"'
    yield "a number", b"1"
    yield "NaN", b"NaN"
    yield "an empty object", b"{}"
    yield "not UTF-8", whole[:-1] + b', "later": "\xff\xfe"}'
    yield "UTF-16", whole.decode().encode("utf-16")
    yield "a lone surrogate", whole[:-1] + b', "later": "\\ud800"}'
    yield "a body without end in depth", whole[:-1] + b', "later": ' + b"[" * 10_000 + b"}"
    yield "a body of great depth", whole[:-1] + b', "later": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    yield "a body that is too large", _with(body, later="x" * (MAX_RECORD_BYTES + 1))
    yield "a body that is too large to read", b"x" * (MAX_RECORD_BYTES + 50_000)
    for name, value in {
        "an object for a text": {"a": 1},
        "a list for a text": [1],
        "a character 0 in a text": {"a\0b": 1} if text == "bad_rows" else "a\0b",
        "a text that is too long": {"x" * 5_000: 1} if text == "bad_rows" else "x" * 5_000,
    }.items():
        yield (
            name,
            _with(body, **{text: {"a": {"a": 1}} if text == "bad_rows" and value == {"a": 1} else value}),
        )
    for name, amount in {
        "a number of 63 bits and more": 2**63,
        "a number of thousands of digits": 10**4200,
        "a number below all": -(2**63) - 1,
        "an infinite number": float("inf"),
        "a number that is none": float("nan"),
        "an object for a number": {"a": 1},
    }.items():
        value = {"billing.customers": {"0": amount}} if number == "positions" else amount
        yield name, _with(body, **{number: value})
    if number == "positions":
        yield "a partition out of range", _with(body, positions={"billing.customers": {str(2**31): 1}})
        yield "a partition below 0", _with(body, positions={"billing.customers": {"-1": 1}})
        yield "an epoch far ahead", _with(body, epoch=2**62)
        for name, moment in _moments().items():
            yield f"begun at {name}", _with(body, started_at=moment.decode())


def _moments() -> dict[str, bytes]:
    """Return impossible moments by the name of their fault."""
    return {
        "no time": b"yesterday",
        "a time without offset": b"2026-03-01T12:00:00",
        "the end of all years": b"9999-12-31T23:59:59-14:00",
        "the first of all years": b"0001-01-01T00:00:00+14:00",
        "next week": (datetime.now(UTC) + timedelta(days=7)).isoformat().encode(),
    }


_HEADERS: Final[dict[str, Callable[[Raw], Raw]]] = {
    "no headers": lambda record: record._replace(headers=()),
    **{
        f"no {name}": lambda record, name=name: record.without_header(name)  # type: ignore[misc]
        for name in ("ce_id", "ce_type", "ce_time", "ce_organization", "ce_instance")
    },
    **{
        f"{name} of bytes that are no text": lambda record, name=name: record.with_header(name, b"\xff\xfe")  # type: ignore[misc]
        for name in ("ce_id", "ce_type", "ce_time", "ce_organization", "ce_source")
    },
    "an id without a value": lambda record: record.with_header("ce_id", None),
    "an id that is too long": lambda record: record.with_header("ce_id", b"x" * 10_000),
    "an id with a character 0": lambda record: record.with_header("ce_id", b"a\0b"),
    "an organization that is none": lambda record: record.with_header("ce_organization", b"Nimbus"),
    "an organization in another spelling": lambda record: record.with_header(
        "ce_organization", b"{%b}" % str(ORGANIZATION).encode()
    ),
    "another organization": lambda record: record.with_header("ce_organization", str(FOREIGN).encode()),
    "an instance that is none": lambda record: record.with_header("ce_instance", b"1"),
    "another instance": lambda record: record.with_header("ce_instance", str(FOREIGN).encode()),
    "an organization twice": lambda record: record._replace(
        headers=(*record.headers, ("ce_organization", str(FOREIGN).encode()))
    ),
    "thousands of headers": lambda record: record._replace(
        value=b"{", headers=tuple((f"h{number}", b"x" * 40) for number in range(9_000))
    ),
    "a header that is too large": lambda record: record._replace(
        value=b"{", headers=(("h", b"x" * (MAX_RECORD_BYTES + 50_000)),)
    ),
}

_KEYS: Final[dict[str, bytes | None]] = {
    "no key": None,
    "an empty key": b"",
    "a key that is no text": b"\xff\xfe",
    "the key of another": str(FOREIGN).encode(),
    "a key with more behind": str(INSTANCE).encode() + b" ",
    "a key that is too large": b"k" * 300_000,
}


def _of_facts(topic: Topic, record: Raw, body: dict[str, Any]) -> Iterator[tuple[str, Raw]]:
    """Yield a good fact with each fault that only facts can have."""
    for name in ("ce_epoch", "ce_seq", "ce_observedat"):
        yield f"no {name}", record.without_header(name)
    for name in ("ce_epoch", "ce_seq"):
        for fault, value in {
            "no number": b"new",
            "below 0": b"-1",
            "of 63 bits and more": b"%d" % 2**63,
            "of thousands of digits": b"9" * 5_000,
            "in other digits": "\u0661".encode(),
        }.items():
            yield f"{name} {fault}", record.with_header(name, value)
    ahead = int(datetime.now(UTC).timestamp()) + 2 * 86_400
    yield "an epoch two days ahead", record.with_header("ce_epoch", b"%d" % ahead)
    for fault, value in _moments().items():
        yield f"seen at {fault}", record.with_header("ce_observedat", value)
    kind, prefix = topic.kinds[0], str(INSTANCE)
    for fault, key in {
        "of an unknown kind": f"{prefix}:server:7",
        "without an id": f"{prefix}:{kind}",
        "of no instance": f"main:{kind}:7",
        "of another id": f"{prefix}:{kind}:8",
        "of an id out of range": f"{prefix}:{kind}:{2**63}",
        "of a kind of another topic": f"{prefix}:{Kind.PRODUCT if kind is Kind.CUSTOMER else Kind.CUSTOMER}:7",
        "in another spelling": f"{prefix}:{kind}:07",
        "in capitals": f"{prefix.upper()}:{kind}:7",
    }.items():
        yield f"a key {fault}", record._replace(key=key.encode())
    yield "a number as a text", record._replace(value=_with(body, id="7"))
    yield "a number with a point", record._replace(value=_with(body, id=7.0))
    yield "an id twice", record._replace(value=json.dumps(body).encode()[:-1] + b', "id": 8}')
    yield "a character 0 in an unknown field", record._replace(value=_with(body, later="a\0b"))

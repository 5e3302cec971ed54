"""Builders of facts with sensible defaults. A test names only the fields that matter to it."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
from aiokafka import ConsumerRecord

from libs.common.contracts.billing import SHAPES, Kind, fact_key
from libs.common.contracts.envelope import Record, headers, partition_of
from libs.common.contracts.instances import InstanceChanged, InstanceKey, InstanceSettings
from libs.common.contracts.message import Message
from libs.common.contracts.topics import BY_NAME, TOPIC_OF, Topic

ORGANIZATION = UUID("0f4f24a4-9a37-4c0e-8a6a-1d3a1f0f6f01")
INSTANCE = UUID("5b0f1f7e-1c1e-4b43-9a1b-1f6a5a0c7d11")
INSTANCE_KEY = InstanceKey(ORGANIZATION, INSTANCE)
FIRST_SEEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def instance(version: int = 1, *, instance_id: UUID = INSTANCE, **values: Any) -> InstanceChanged:
    """Return an active instance in UTC."""
    defaults: dict[str, Any] = {
        "organization_id": ORGANIZATION,
        "name": "Main",
        "credential_id": UUID(int=1, version=4),
        "state": "active",
        "settings": InstanceSettings(),
    }
    return InstanceChanged(id=instance_id, version=version, **(defaults | values))


def subscription(
    entity_id: int, customer_id: int, kind: Kind = Kind.SERVICE, **values: Any
) -> dict[str, Any]:
    """Return the body of an active subscription of 10.00 a month, paid until 2026-03-21."""
    return {
        "id": entity_id,
        "kind": kind.value,
        "customer_id": customer_id,
        "parent_id": None,
        "product_id": None if kind is Kind.DOMAIN else 1,
        "product_name": None if kind is Kind.DOMAIN else "Hosting",
        "product_group_name": None,
        "label": f"site{entity_id}.example",
        "status": "active",
        "cycle": "years_1" if kind is Kind.DOMAIN else "monthly",
        "cycle_text": "",
        "recurring_micros": 10_000_000,
        "first_payment_micros": None,
        "quantity": 1,
        "registered_on": "2025-01-21",
        "next_due_on": "2026-03-21",
        "expires_on": None,
        "renews": True,
        "promotion_id": None,
        "payment_method": None,
        "suspension_reason": None,
    } | values


def invoice(entity_id: int, customer_id: int, currency: str = "EUR", **values: Any) -> dict[str, Any]:
    """Return the body of a paid invoice of 10.00 without tax."""
    return {
        "id": entity_id,
        "customer_id": customer_id,
        "number": None,
        "currency": currency,
        "status": "paid",
        "issued_on": "2026-02-07",
        "due_on": "2026-02-21",
        "paid_at": "2026-02-20T10:00:00",
        "refunded_at": None,
        "cancelled_at": None,
        "subtotal_micros": 10_000_000,
        "credit_micros": 0,
        "tax_micros": 0,
        "tax2_micros": 0,
        "total_micros": 10_000_000,
        "tax_rate": "0",
        "tax_rate2": "0",
        "payment_method": None,
        "updated_at": None,
    } | values


def customer(entity_id: int, **values: Any) -> dict[str, Any]:
    return {
        "id": entity_id,
        "status": "active",
        "group_id": None,
        "display_name": f"Customer {entity_id}",
        "created_on": "2025-01-01",
    } | values


def customer_detail(entity_id: int, currency: str | None = "EUR") -> dict[str, Any]:
    return {"id": entity_id, "currency": currency, "country": None}


def invoice_lines(entity_id: int, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the body of the lines of an invoice that nothing was paid of."""
    defaults = {"amount_micros": 10_000_000, "taxed": False}
    return {"id": entity_id, "lines": [defaults | line for line in lines], "payments": []}


def transaction(entity_id: int, customer_id: int, **values: Any) -> dict[str, Any]:
    """Return the body of a payment of 10.00."""
    return {
        "id": entity_id,
        "customer_id": customer_id,
        "invoice_id": None,
        "currency": "EUR",
        "on": "2026-02-20",
        "gateway": None,
        "in_micros": 10_000_000,
        "out_micros": 0,
        "fee_micros": 0,
        "rate": "1",
        "refund_id": None,
    } | values


def cancellation_request(entity_id: int, service_id: int) -> dict[str, Any]:
    return {
        "id": entity_id,
        "service_id": service_id,
        "requested_at": None,
        "type": "end_of_billing_period",
        "reason": None,
    }


def fact(
    kind: Kind,
    body: dict[str, Any] | int,
    *,
    seq: int,
    epoch: int = 1,
    day: float = 0,
    organization_id: UUID = ORGANIZATION,
    instance_id: UUID = INSTANCE,
) -> Record:
    """Return a fact observed `day` days after FIRST_SEEN. An id in the place of the body makes a tombstone."""
    entity_id: int = body if isinstance(body, int) else body["id"]
    key = fact_key(instance_id, kind, entity_id)
    observed_at = FIRST_SEEN + timedelta(days=day)
    values = headers(
        message_id=f"{key}@{epoch}.{seq}",
        message_type=SHAPES[kind].__name__,
        source="connector",
        at=observed_at,
        subject=key,
        instance=InstanceKey(organization_id, instance_id),
    )
    values += [
        ("ce_epoch", b"%d" % epoch),
        ("ce_seq", b"%d" % seq),
        ("ce_observedat", observed_at.isoformat().encode()),
    ]
    value = None if isinstance(body, int) else orjson.dumps(body)
    return Record(TOPIC_OF[kind].name, key.encode(), value, values)


def message_record(
    topic: Topic,
    body: Message,
    *,
    instance: InstanceKey = INSTANCE_KEY,
    at: datetime = FIRST_SEEN,
    message_id: str | None = None,
) -> Record:
    """Return a command, an event or a state of an instance as a service publishes it."""
    values = headers(
        message_id=message_id or str(uuid4()),
        message_type=type(body).__name__,
        source="test",
        at=at,
        subject=str(instance.instance_id),
        instance=instance,
    )
    return Record(topic.name, str(instance.instance_id).encode(), body.model_dump_json().encode(), values)


def with_header(record: Record, name: str, value: bytes | None) -> Record:
    """Return the record with another value of a header; without that header when the value is None."""
    kept = [header for header in record.headers if header[0] != name]
    return Record(record.topic, record.key, record.value, kept if value is None else [*kept, (name, value)])


def consumed(records: Sequence[Record], offset: int = 0) -> list[ConsumerRecord]:
    """Return records as a consumer gets them, with offsets from `offset` on in each partition."""
    ends: dict[tuple[str, int], int] = {}
    received = []
    for record in records:
        partition = partition_of(record.key, BY_NAME[record.topic].partitions)
        at = ends.get((record.topic, partition), offset)
        ends[record.topic, partition] = at + 1
        received.append(
            ConsumerRecord(
                record.topic,
                partition,
                at,
                0,
                0,
                record.key,
                record.value,
                None,
                len(record.key),
                len(record.value or b""),
                tuple(record.headers),
            )
        )
    return received


def book(seed: int, customers: int = 60, days: int = 40) -> list[Record]:
    """Return random facts of one instance over `days` days, in order: every change that a subscription can have.

    Equal seeds give equal facts; by default more than 1,000.
    """
    history = _History(random.Random(seed), customers)
    history.open()
    for day in range(1, days + 1):
        for _ in range(24):
            history.change(day)
    return history.records


class _History:
    """Random facts so far, and the state of the rows that the next change starts from."""

    def __init__(self, dice: random.Random, customers: int) -> None:
        self.dice, self.customers = dice, customers
        self.records: list[Record] = []
        self.subscriptions: dict[tuple[Kind, int], dict[str, Any]] = {}
        self.requests: set[int] = set()
        self.invoices = 0

    def open(self) -> None:
        """Add all customers, and for each of them one or two subscriptions of every kind."""
        for number in range(1, self.customers + 1):
            self._add(Kind.CUSTOMER, customer(number), 0)
            for kind in (Kind.SERVICE, Kind.ADDON, Kind.DOMAIN):
                for _ in range(self.dice.randint(1, 2)):
                    micros = self.dice.randint(0, 9) * 1_000_000
                    entity_id = len(self.subscriptions) + 1
                    body = subscription(entity_id, number, kind, recurring_micros=micros)
                    self.subscriptions[kind, entity_id] = body
                    self._add(kind, body, 0)

    def change(self, day: int) -> None:
        """Change one field of a subscription, delete it, turn its request on or off, or add an invoice."""
        kind, entity_id = self.dice.choice(list(self.subscriptions))
        match self.dice.randrange(9):
            case 0 | 1:
                changes: dict[str, Any] = {"recurring_micros": self.dice.randint(-1, 20) * 1_000_000}
            case 2:
                changes = {"status": self.dice.choice(["active", "suspended", "grace", "terminated"])}
            case 3:
                changes = {"next_due_on": f"2026-0{self.dice.randint(3, 5)}-15"}
            case 4:
                changes = {"customer_id": self.dice.randint(1, self.customers)}
            case 5:
                cycles = ["monthly", "annually", "years_3", "free", "unknown"]
                changes = {"cycle": self.dice.choice(cycles)}
            case 6:
                return self._add(kind, entity_id, day)
            case 7:
                return self._change_request(kind, entity_id, day)
            case _:
                return self._add_invoice(day)
        self.subscriptions[kind, entity_id] |= changes
        self._add(kind, dict(self.subscriptions[kind, entity_id]), day)

    def _change_request(self, kind: Kind, entity_id: int, day: int) -> None:
        if kind is not Kind.SERVICE:
            return
        if entity_id in self.requests:
            self.requests.remove(entity_id)
            self._add(Kind.CANCELLATION_REQUEST, entity_id, day)
        else:
            self.requests.add(entity_id)
            self._add(Kind.CANCELLATION_REQUEST, cancellation_request(entity_id, entity_id), day)

    def _add_invoice(self, day: int) -> None:
        self.invoices += 1
        customer_id = self.dice.randint(1, self.customers)
        currency = self.dice.choice(["EUR", "EUR", "USD"])
        self._add(Kind.INVOICE, invoice(self.invoices, customer_id, currency), day)
        if self.dice.random() < 0.2:
            self._add(Kind.INVOICE, self.dice.randint(1, self.invoices), day)
        detail = customer_detail(self.dice.randint(1, self.customers), currency)
        self._add(Kind.CUSTOMER_DETAIL, detail, day)

    def _add(self, kind: Kind, body: dict[str, Any] | int, day: int) -> None:
        self.records.append(fact(kind, body, epoch=1 + day // 10, seq=len(self.records), day=day))

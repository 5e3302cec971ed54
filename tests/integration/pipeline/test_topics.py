"""A consumer that only knows the topics gets the whole present state of a WHMCS from them.

The consumer is librdkafka, so nothing that our own client does to records can hide a fault.
"""

import html
import ssl
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import confluent_kafka
import httpx
import orjson
import pytest

from libs.common.contracts import topics
from tests.integration.pipeline.system import Instance, running_system, started
from tests.servers import Postgres
from tests.simulator import Whmcs, simulate

State = dict[str, dict[int, dict[str, Any]]]
_MICROS = Decimal(1_000_000)


@pytest.fixture(scope="module")
def whmcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whmcs]:
    with simulate(tmp_path_factory.mktemp("whmcs"), seed=4, customers=20, years=2) as whmcs:
        yield whmcs


async def test_topics_alone_hold_the_state_of_whmcs(
    whmcs: Whmcs, postgres: Postgres, kafka_broker: str, tmp_path: Path
) -> None:
    async with running_system(postgres, kafka_broker, tmp_path, [whmcs]) as system:
        with started(system, system.program("connector"), system.program("metrics")):
            instance = await system.add_instance(whmcs)
            await system.sync(instance)
            await system.details_read(instance)
            for kind in ("service", "domain", "invoice"):
                [first, second, *_] = sorted(_ids(whmcs, kind))
                change = {"status": "Cancelled"} if kind == "invoice" else {"recurring": "12.34"}
                _change(whmcs, kind=kind, id=first, delete=True)
                _change(whmcs, kind=kind, id=second, set=change)
            system.events.clear()
            await system.sync(instance)
            await system.details_read(instance)
            published = _published(kafka_broker, instance)

    expected = _present(whmcs)
    for kind, rows in expected.items():
        assert published[kind] == rows, kind
    assert published.keys() - expected.keys() <= {"promotion", "product", "transaction"}


def _change(whmcs: Whmcs, **change: Any) -> None:
    whmcs.control("POST", "/change", json=change)


def _published(bootstrap: str, instance: Instance) -> State:
    """Read all billing topics from their beginning, and return the bodies by kind and id, without those of tombstones."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "another-make",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    places = [
        confluent_kafka.TopicPartition(topic.name, number, 0)
        for topic in topics.BILLING
        for number in range(topic.partitions)
    ]
    consumer.assign(places)
    left = len(places)
    newest: dict[str, tuple[tuple[int, int], bytes | None]] = {}
    while left:
        message = consumer.poll(30)
        assert message is not None
        if message.error():
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
            left -= 1
            continue
        headers = dict(message.headers())
        version = int(headers["ce_epoch"]), int(headers["ce_seq"])
        key = message.key().decode()
        if key not in newest or newest[key][0] < version:
            newest[key] = version, message.value()
    consumer.close()
    state: State = {}
    for key, (_, value) in newest.items():
        instance_id, kind, number = key.split(":")
        if instance_id == str(instance.id) and value is not None:
            state.setdefault(kind, {})[int(number)] = _compared(kind, orjson.loads(value))
    return state


# What is compared of each kind: our field, the field of WHMCS, and how WHMCS writes it.
def _text(value: Any) -> str:
    return html.unescape(str(value or "")).strip()


def _number(value: Any) -> int | None:
    return int(Decimal(str(value or 0))) or None


def _micros(value: Any) -> int:
    return int(Decimal(str(value)) * _MICROS)


def _day(value: Any) -> str | None:
    return None if str(value or "").startswith("0000") or not value else str(value)[:10]


def _word(value: Any) -> str:
    return _text(value).lower().replace(" ", "_").replace("-", "_")


_FIELDS: dict[str, dict[str, tuple[str, Any]]] = {
    "customer": {"status": ("status", _word), "created_on": ("datecreated", _day)},
    "service": {
        "customer_id": ("clientid", _number),
        "product_id": ("pid", _number),
        "recurring_micros": ("recurringamount", _micros),
        "status": ("status", _word),
        "next_due_on": ("nextduedate", _day),
    },
    "addon": {
        "customer_id": ("userid", _number),
        "parent_id": ("serviceid", _number),
        "recurring_micros": ("recurring", _micros),
        "status": ("status", _word),
    },
    "domain": {
        "customer_id": ("userid", _number),
        "label": ("domainname", lambda value: _text(value).lower()),
        "recurring_micros": ("recurringamount", _micros),
        "status": ("status", _word),
        "expires_on": ("expirydate", _day),
    },
    "invoice": {
        "customer_id": ("userid", _number),
        "currency": ("currencycode", _text),
        "status": ("status", _word),
        "issued_on": ("date", _day),
        "subtotal_micros": ("subtotal", _micros),
        "total_micros": ("total", _micros),
    },
    "cancellation_request": {"service_id": ("relid", _number), "type": ("type", _word)},
    "currency": {"code": ("code", _text)},
    "customer_detail": {"currency": ("currency_code", _text), "country": ("countrycode", _text)},
}
_LINE = {
    "type": ("type", _text),
    "related_id": ("relid", _number),
    "description": ("description", _text),
    "amount_micros": ("amount", _micros),
}


def _compared(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the compared fields of a published body."""
    if kind == "invoice_lines":
        return {
            "lines": [
                {name: line[name] or None if name == "related_id" else line[name] for name in _LINE}
                for line in body["lines"]
            ],
            "paid_micros": sum(payment["in_micros"] - payment["out_micros"] for payment in body["payments"]),
        }
    return {name: body[name] for name in _FIELDS.get(kind, {})}


def _present(whmcs: Whmcs) -> State:
    """Ask WHMCS itself for all rows, and return the same fields."""
    lists = {
        "customer": ("GetClients", "clients", "client"),
        "service": ("GetClientsProducts", "products", "product"),
        "addon": ("GetClientsAddons", "addons", "addon"),
        "domain": ("GetClientsDomains", "domains", "domain"),
        "invoice": ("GetInvoices", "invoices", "invoice"),
        "cancellation_request": ("GetCancelledPackages", "packages", "package"),
        "currency": ("GetCurrencies", "currencies", "currency"),
    }
    state: State = {}
    for kind, (action, plural, singular) in lists.items():
        rows = _rows(_ask(whmcs, action, limitnum=100_000), plural, singular)
        state[kind] = {int(row["id"]): _expected(_FIELDS[kind], row) for row in rows}
    state["customer_detail"] = {
        number: _expected(
            _FIELDS["customer_detail"], _ask(whmcs, "GetClientsDetails", clientid=number)["client"]
        )
        for number in state["customer"]
    }
    state["invoice_lines"] = {
        number: _lines(_ask(whmcs, "GetInvoice", invoiceid=number)) for number in state["invoice"]
    }
    return state


def _expected(fields: dict[str, tuple[str, Any]], row: dict[str, Any]) -> dict[str, Any]:
    return {name: read(row[field]) for name, (field, read) in fields.items()}


def _lines(invoice: dict[str, Any]) -> dict[str, Any]:
    payments = _rows(invoice, "transactions", "transaction")
    return {
        "lines": [_expected(_LINE, row) for row in _rows(invoice, "items", "item")],
        "paid_micros": sum(_micros(row["amountin"]) - _micros(row["amountout"]) for row in payments),
    }


def _ids(whmcs: Whmcs, kind: str) -> list[int]:
    if kind == "invoice":
        return [
            int(row["id"])
            for row in _rows(_ask(whmcs, "GetInvoices", limitnum=100_000), "invoices", "invoice")
        ]
    picked = whmcs.control("GET", "/pick", params={"kind": kind})
    return list(picked["ids"])


def _rows(body: dict[str, Any], plural: str, singular: str) -> list[dict[str, Any]]:
    outer = body.get(plural) or {}
    return list(outer.get(singular, [])) if isinstance(outer, dict) else []


def _ask(whmcs: Whmcs, action: str, **parameters: int) -> dict[str, Any]:
    form = {"action": action, "responsetype": "json", **parameters}
    form |= {name: whmcs.info[name] for name in ("identifier", "secret")}
    context = ssl.create_default_context(cafile=whmcs.info["ca_file"])
    answer: dict[str, Any] = httpx.post(
        whmcs.info["url"] + "/includes/api.php", data=form, verify=context, timeout=60
    ).json()
    return answer

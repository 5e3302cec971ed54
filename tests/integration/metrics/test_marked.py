"""Computing what marked rows concern gives the figures of a full recalculation, and reads and writes nothing else."""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from services.metrics import movements
from tests.builders import (
    cancellation_request,
    customer,
    fact,
    invoice,
    invoice_lines,
    subscription,
)
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_runs import NOON, SUBSCRIPTIONS, ended

FIGURES = ("segments", "issues", "movements", "customer_days")
CUSTOMERS, SERVICES, ADDONS, DOMAINS, INVOICES = 4, 8, 4, 4, 40
PRODUCTS = ("Web Starter", "Web Plus", "Mailbox")
HISTORY_KINDS = SUBSCRIPTIONS | {Kind.INVOICE.value: {}}


def owner_of(number: int) -> int:
    """Return the customer to whom a row with this number belongs."""
    return 1 + (number - 1) % CUSTOMERS


class Company:
    """Random facts of a small company with a history and bills of every kind. Rows belong together whose numbers differ by CUSTOMERS."""

    def __init__(self, seed: int) -> None:
        self.dice, self.seq = random.Random(seed), 0

    def open(self) -> Iterator[Record]:
        """Yield the facts that the first run reads."""
        for number in range(1, CUSTOMERS + 1):
            yield self._fact(Kind.CUSTOMER, customer(number), 1, 0)
        for kind, count in ((Kind.SERVICE, SERVICES), (Kind.ADDON, ADDONS), (Kind.DOMAIN, DOMAINS)):
            for number in range(1, count + 1):
                yield self._subscription(kind, number, 1, 0)
        for number in range(1, INVOICES + 1):
            yield self._header(number, 1, 0)
            yield self._lines(number, 1, 0)

    def change(self, epoch: int, day: int) -> Record:
        """Return a fact that changes a row, removes it, or adds a new one."""
        kind, count = self.dice.choice(
            (
                (Kind.SERVICE, SERVICES),
                (Kind.ADDON, ADDONS),
                (Kind.DOMAIN, DOMAINS),
                (Kind.INVOICE, INVOICES + 5),
            )
        )
        number = self.dice.randint(1, count + 1)
        match self.dice.randrange(10):
            case 0:
                removed = self.dice.choice((kind, Kind.INVOICE_LINES)) if kind is Kind.INVOICE else kind
                return self._fact(removed, number, epoch, day)
            case 1:
                body = (
                    number
                    if self.dice.random() < 0.3
                    else cancellation_request(number, self._one_of(SERVICES))
                )
                return self._fact(Kind.CANCELLATION_REQUEST, body, epoch, day)
            case 2:
                group = self.dice.choice((None, 1, 2))
                return self._fact(
                    Kind.CUSTOMER, customer(self._one_of(CUSTOMERS), group_id=group), epoch, day
                )
        if kind is not Kind.INVOICE:
            return self._subscription(kind, number, epoch, day)
        return (
            self._lines(number, epoch, day) if self.dice.random() < 0.5 else self._header(number, epoch, day)
        )

    def _one_of(self, count: int) -> int:
        return self.dice.randint(1, count)

    def _beside(self, number: int, count: int) -> int:
        """Return the number, up to about `count`, of a row of the same customer."""
        return 1 + (number - 1) % CUSTOMERS + CUSTOMERS * self.dice.randrange(max(1, count // CUSTOMERS))

    def _fact(self, kind: Kind, body: dict[str, Any] | int, epoch: int, day: int) -> Record:
        self.seq += 1
        return fact(kind, body, seq=self.seq, epoch=epoch, day=day)

    def _subscription(self, kind: Kind, number: int, epoch: int, day: int) -> Record:
        dice = self.dice
        values: dict[str, Any] = {
            "recurring_micros": dice.choice((10_000_000, 12_000_000, 20_000_000, 0)),
            "status": dice.choice(("active", "active", "active", "suspended", "terminated", "cancelled")),
            "next_due_on": dice.choice(("2026-03-21", "2026-04-21", "2026-01-05", None)),
            "label": f"site{number}.example" if dice.random() < 0.9 else "other.example",
        }
        if kind is not Kind.DOMAIN:
            values["product_name"] = dice.choice(PRODUCTS)
        if kind is Kind.ADDON:
            values["parent_id"] = self._beside(number, SERVICES)
        return self._fact(kind, subscription(number, owner_of(number), kind, **values), epoch, day)

    def _header(self, number: int, epoch: int, day: int) -> Record:
        dice = self.dice
        due = date(2025, 3, 21) + timedelta(days=30 * (number % 12))
        values = {
            "status": dice.choice(("paid", "paid", "paid", "paid", "unpaid", "refunded")),
            "issued_on": str(due - timedelta(days=14)),
            "due_on": str(due),
            "paid_at": f"{due + timedelta(days=dice.choice((0, 0, 3, 25)))}T10:00:00",
        }
        currency = "USD" if dice.random() < 0.04 else "EUR"
        return self._fact(Kind.INVOICE, invoice(number, owner_of(number), currency, **values), epoch, day)

    def _lines(self, number: int, epoch: int, day: int) -> Record:
        lines = [self._line(100 * number + place, number) for place in range(self.dice.randint(1, 3))]
        return self._fact(Kind.INVOICE_LINES, invoice_lines(number, lines), epoch, day)

    def _line(self, id_: int, number: int) -> dict[str, Any]:
        dice, due = self.dice, date(2025, 3, 21) + timedelta(days=30 * (number % 12))
        days = f"({due:%d/%m/%Y} - {due + timedelta(days=dice.choice((29, 30, 89))):%d/%m/%Y})"
        match dice.randrange(12):
            case 0:
                upgrade = f"Upgrade/Downgrade: {PRODUCTS[0]} => {PRODUCTS[1]}"
                return {
                    "id": id_,
                    "type": "Upgrade",
                    "related_id": number,
                    "description": upgrade,
                    "amount_micros": 3_000_000,
                }
            case 1:
                return {
                    "id": id_,
                    "type": "Invoice",
                    "related_id": self._beside(number, INVOICES),
                    "description": "Invoice",
                }
            case 2 | 3:
                return {
                    "id": id_,
                    "type": "Addon",
                    "related_id": self._beside(number, ADDONS),
                    "description": f"Addon {days}",
                }
            case 4 | 5:
                return {
                    "id": id_,
                    "type": "Domain",
                    "related_id": self._beside(number, DOMAINS),
                    "description": f"Domain {days}",
                }
        service = self._beside(number, SERVICES + CUSTOMERS)
        text = f"{dice.choice(PRODUCTS)} - site{service}.example {days}"
        return {"id": id_, "type": "Hosting", "related_id": service, "description": text}


async def recalculated(tables: Tables) -> dict[str, list[tuple[Any, ...]]]:
    """Return the figures after all of them are computed again from nothing."""
    for table in FIGURES:
        await tables.execute(f"DELETE FROM metrics.{table}")  # noqa: S608  fixed names
    await tables.execute("UPDATE metrics.freshness SET has_movements = false")
    await tables.compute()
    return await tables.content(*FIGURES)


@pytest.mark.parametrize("seed", range(6))
async def test_marked_rows_give_the_figures_of_all(
    tables: Tables, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:
        monkeypatch.setattr(movements, "LARGE", 1)
    company, dice = Company(seed), random.Random(seed)
    await tables.take(list(company.open()))
    await ended(tables, NOON, epoch=1, kinds=HISTORY_KINDS)
    await tables.compute()
    for epoch in range(2, 16):
        for _ in range(dice.randint(1, 4)):
            # Some facts are late, and some are read for a run that ends later.
            of_epoch = epoch + dice.choice((-1, 0, 0, 0, 0, 1))
            await tables.take([company.change(of_epoch, epoch)])
        await ended(tables, NOON + timedelta(days=epoch), epoch=epoch, kinds=HISTORY_KINDS)
        await tables.compute()
    await ended(tables, NOON + timedelta(days=16), epoch=16, kinds=HISTORY_KINDS)
    await tables.compute()
    incremental = await tables.content(*FIGURES)

    assert incremental == await recalculated(tables)
    assert len(incremental["segments"]) > 50

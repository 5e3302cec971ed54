"""Which invoice tells a customer's currency, and which facts change it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from services.metrics.formulas.currency import Before, Invoice, currency_marks, currency_of
from services.metrics.formulas.facts import CustomerKey, Fact
from tests.builders import INSTANCE, ORGANIZATION

NEWEST = Invoice(5, "EUR")


def fact(kind: Kind, number: int, customer_id: int | None, currency: str | None, epoch: int = 2) -> Fact:
    return Fact(
        organization_id=ORGANIZATION,
        instance_id=INSTANCE,
        kind=kind,
        id=number,
        epoch=epoch,
        seq=1,
        observed_at=datetime(2026, 3, 1, tzinfo=UTC),
        body=None if currency is None else "{}",
        owner_kind=None,
        owner_id=None,
        customer_id=customer_id,
        currency=currency,
    )


def invoice(number: int, customer_id: int | None = 7, currency: str | None = "EUR", epoch: int = 2) -> Fact:
    return fact(Kind.INVOICE, number, customer_id, currency, epoch)


def marked(
    *facts: Fact, before: Before | None = None, newest: Invoice | None = NEWEST
) -> list[tuple[Any, ...]]:
    """Return customer, epoch and left invoice of each mark; customer 7 has the newest invoice."""
    stored = {} if before is None else {facts[0].row: before}
    invoices = {} if newest is None else {CustomerKey(ORGANIZATION, INSTANCE, 7): newest}
    marks = currency_marks(facts, stored, invoices)
    return [(mark.customer_id, mark.epoch, mark.left_invoice_id) for mark in marks]


@pytest.mark.parametrize(
    ("invoices", "details", "currency"),
    [
        ([Invoice(4, "EUR"), Invoice(9, "USD"), Invoice(5, "EUR")], "GBP", "USD"),
        ([], "GBP", "GBP"),
        ([], None, None),
    ],
)
def test_newest_invoice_tells_the_currency(
    invoices: list[Invoice], details: str | None, currency: str | None
) -> None:
    assert currency_of(invoices, details) == currency


def test_invoice_in_the_same_currency_marks_nothing() -> None:
    assert marked(invoice(6)) == []


def test_older_invoice_marks_nothing() -> None:
    assert marked(invoice(4, currency="USD")) == []


def test_newer_invoice_in_another_currency_marks_its_customer() -> None:
    assert marked(invoice(6, currency="USD")) == [(7, 2, None)]


def test_currency_that_changes_back_marks_both_epochs() -> None:
    assert marked(invoice(6, currency="USD", epoch=2), invoice(7, epoch=3)) == [(7, 2, None), (7, 3, None)]


def test_first_invoice_marks_its_customer() -> None:
    assert marked(invoice(6), newest=None) == [(7, 2, None)]


def test_invoice_that_leaves_marks_the_former_customer() -> None:
    assert marked(invoice(5, 8), before=Before(1, 1, 7, "EUR")) == [(7, 2, 5), (8, 2, None)]
    assert marked(invoice(5, None, None), before=Before(1, 1, 7, "EUR")) == [(7, 2, 5)]


@pytest.mark.parametrize(("before", "marks"), [("EUR", []), ("USD", [(7, 2, None)]), (None, [(7, 2, None)])])
def test_details_mark_when_their_currency_changes(before: str | None, marks: list[tuple[Any, ...]]) -> None:
    details = fact(Kind.CUSTOMER_DETAIL, 7, None, "EUR")

    assert marked(details, before=Before(1, 1, None, before)) == marks


def test_fact_that_is_not_newer_than_its_record_marks_nothing() -> None:
    assert marked(invoice(6, currency="USD"), before=Before(2, 1, 7, "EUR")) == []

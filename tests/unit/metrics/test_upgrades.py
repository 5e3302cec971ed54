"""Upgrades: lines that only their text links to a service, and the price from that day on."""

from datetime import date
from typing import Any

import pytest

from libs.common.contracts.money import parse_micros as micros
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.invoices import Invoice, PeriodChange
from services.metrics.formulas.paid_periods import UnlinkedLine
from tests.lines import (
    CUSTOMER,
    PLUS,
    SERVICE,
    STARTER,
    hosting,
    invoice,
    item,
    line,
    paid_back,
    paid_in,
    periods,
    read,
)

JAN, FEB, MAR = (date(2026, month, 1) for month in (1, 2, 3))
UPGRADED_ON = date(2026, 1, 11)
OTHER = Subscription("service", 2)
TEXT = f"Upgrade/Downgrade: {STARTER} => {PLUS}"


def upgrade(amount: str, text: str = TEXT, on: date = UPGRADED_ON, *, id_: int = 2, **values: Any) -> Invoice:
    # The id of an upgrade is that of no service.
    return invoice(id_, on, line("Upgrade", amount, text, related_id=987), **values)


STARTED = invoice(1, JAN, hosting(5, JAN, FEB, name=STARTER))
RENEWED = invoice(3, FEB, hosting(10, FEB, MAR))
# 5.00 more for 21 of 31 days.
CHARGE = "3.39"


def test_upgrade_dates_the_change_of_price_and_product() -> None:
    paid = periods(STARTED, upgrade(CHARGE), RENEWED)

    assert [(row.from_on, row.to_on, row.mrr_micros, row.product, row.change) for row in paid] == [
        (JAN, UPGRADED_ON, micros(5), "service:1", None),
        (UPGRADED_ON, FEB, micros(10), "service:2", PeriodChange.UPGRADE),
        (FEB, MAR, micros(10), "service:2", None),
    ]
    assert paid[1].invoice_id == 2


def test_upgrade_counts_from_the_day_of_its_payment() -> None:
    late = upgrade(CHARGE, paid_on=date(2026, 1, 13))

    assert [row.from_on for row in periods(STARTED, late)] == [JAN, date(2026, 1, 13)]


def test_record_has_the_price_after_the_last_line() -> None:
    assert [row.mrr_micros for row in periods(STARTED, upgrade(CHARGE))] == [micros(5), micros(10)]


def test_charge_gives_the_price_where_no_line_explains_it() -> None:
    paid = periods(STARTED, upgrade("2.10"), items=[item(amount=99)])

    assert [row.mrr_micros for row in paid] == [micros(5), micros("8.10")]


def test_charge_by_months_of_30_days_is_explained() -> None:
    # 5.00 * 21 / 30.
    assert [row.mrr_micros for row in periods(STARTED, upgrade("3.50"))] == [micros(5), micros(10)]


def test_upgrade_of_an_annual_service_is_a_share_of_the_year() -> None:
    end = date(2027, 1, 1)
    started = invoice(1, JAN, hosting(60, JAN, end, name=STARTER))
    # 60.00 more for 355 of 365 days.
    paid = periods(started, upgrade("58.36"), items=[item(amount=120, cycle="annually")])

    assert [(row.to_on, row.mrr_micros, row.cycle_months) for row in paid] == [
        (UPGRADED_ON, micros(5), 12),
        (end, micros(10), 12),
    ]


def test_credit_for_a_smaller_product_is_a_downgrade() -> None:
    started = invoice(1, JAN, hosting(10, JAN, FEB))
    text = f"Upgrade/Downgrade: {PLUS} => {STARTER}"

    paid = periods(started, upgrade("-3.39", text), items=[item(amount=5, product_name=STARTER)])

    assert [(row.mrr_micros, row.change) for row in paid] == [
        (micros(10), None),
        (micros(5), PeriodChange.DOWNGRADE),
    ]


def test_downgrade_without_a_line_is_dated_by_the_first_line() -> None:
    bills = invoice(1, JAN, hosting(10, JAN, FEB)), invoice(2, FEB, hosting(5, FEB, MAR, name=STARTER))

    paid = periods(*bills, items=[item(amount=5, product_name=STARTER)])

    assert [(row.from_on, row.mrr_micros, row.product) for row in paid] == [
        (JAN, micros(10), "service:2"),
        (FEB, micros(5), "service:1"),
    ]


def test_two_upgrades_in_a_period_follow_each_other() -> None:
    text = f"Upgrade/Downgrade: {PLUS} => Web Business"
    again = upgrade("1.77", text, date(2026, 1, 21), id_=4)

    paid = periods(STARTED, upgrade(CHARGE), again, items=[item(amount=15, product_name="Web Business")])

    assert [(row.from_on, row.product_name) for row in paid] == [
        (JAN, STARTER),
        (UPGRADED_ON, PLUS),
        (date(2026, 1, 21), None),
    ]
    assert paid[2].mrr_micros == micros(15)


@pytest.mark.parametrize(
    "text",
    [
        f"Upgrade/Downgrade: {STARTER} - example.com\n{STARTER} => {PLUS} (11/01/2026 - 01/02/2026)",
        f"Upgrade/Downgrade: {STARTER} => {PLUS} - example.com",
        f"Pembaruan: {STARTER} => {PLUS}",
        f"{STARTER} => {PLUS}",
    ],
)
def test_text_of_an_upgrade_is_read_in_all_forms(text: str) -> None:
    assert len(periods(STARTED, upgrade(CHARGE, text), RENEWED)) == 3


def test_label_decides_between_equal_services() -> None:
    items = [item(), item(OTHER, label="example.org")]
    started = invoice(9, JAN, hosting(5, JAN, FEB, name=STARTER, label="example.org", related_id=2))
    text = f"Upgrade/Downgrade: {STARTER} - example.org\n{STARTER} => {PLUS}"

    result = read(STARTED, started, upgrade(CHARGE, text, id_=10), items=items)

    assert {key.id: len(paid) for key, paid in result.of_subscription.items()} == {1: 1, 2: 2}
    assert result.unlinked == ()


def test_upgrade_that_fits_two_services_is_unlinked() -> None:
    items = [item(), item(OTHER, label="example.org")]
    started = invoice(9, JAN, hosting(5, JAN, FEB, name=STARTER, label="example.org", related_id=2))

    result = read(STARTED, started, upgrade(CHARGE, id_=10), items=items)

    assert result.unlinked == (UnlinkedLine(CUSTOMER, 10, 1000),)
    assert all(len(paid) == 1 for paid in result.of_subscription.values())


def test_products_decide_between_services() -> None:
    items = [item(), item(OTHER, label="example.org")]
    other = invoice(9, JAN, hosting(10, JAN, FEB, label="example.org", related_id=2))

    result = read(STARTED, other, upgrade(CHARGE, id_=10), items=items)

    assert {key.id: len(paid) for key, paid in result.of_subscription.items()} == {1: 2, 2: 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Upgrade",
        f"Upgrade/Downgrade: {PLUS} => {STARTER}",
        f"Upgrade/Downgrade: {STARTER} => Web Business",
    ],
)
def test_text_that_fits_no_service_is_unlinked(text: str) -> None:
    result = read(STARTED, upgrade(CHARGE, text), RENEWED)

    assert len(result.unlinked) == 1
    assert len(result.of_subscription[SERVICE]) == 2


def test_upgrade_fits_services_of_its_customer_only() -> None:
    assert len(read(STARTED, upgrade(CHARGE, customer_id=CUSTOMER + 1), RENEWED).unlinked) == 1


def test_unpaid_upgrade_changes_nothing() -> None:
    assert len(periods(STARTED, upgrade(CHARGE, status="unpaid"))) == 1


@pytest.mark.parametrize(("product", "count"), [(PLUS, 2), (STARTER, 1)])
def test_refunded_upgrade_counts_if_the_record_shows_it(product: str, count: int) -> None:
    payments = (paid_in(UPGRADED_ON, CHARGE), paid_back(FEB, CHARGE))

    paid = periods(STARTED, upgrade(CHARGE, payments=payments), items=[item(product_name=product)])

    assert len(paid) == count


def test_upgrade_outside_all_periods_changes_nothing() -> None:
    assert len(periods(STARTED, upgrade(CHARGE, on=FEB))) == 1


def test_upgrade_also_covers_periods_that_were_paid_ahead() -> None:
    ahead = invoice(2, FEB, hosting(5, FEB, MAR, name=STARTER), issued_on=JAN, paid_on=date(2026, 1, 8))
    # 5.00 more for the 49 days until March, at the 28 days of the last cycle.
    paid = periods(STARTED, ahead, upgrade("8.75", id_=3))

    assert [(row.from_on, row.to_on, row.mrr_micros, row.amount_micros) for row in paid] == [
        (JAN, UPGRADED_ON, micros(5), micros(5)),
        (UPGRADED_ON, FEB, micros(10), micros("8.75")),
        (FEB, MAR, micros(10), micros(5)),
    ]


def test_bill_between_order_and_payment_gets_the_new_price() -> None:
    # The site bills the next period after the upgrade was ordered, and the charge is for the days until February.
    ordered = upgrade(CHARGE, paid_on=date(2026, 1, 14))
    renewed = invoice(3, FEB, hosting(5, FEB, MAR, name=STARTER), issued_on=date(2026, 1, 12))
    again = invoice(4, MAR, hosting(10, MAR, date(2026, 4, 1)))

    paid = periods(STARTED, ordered, renewed, again)

    assert [(row.from_on, row.mrr_micros, row.product) for row in paid] == [
        (JAN, micros(5), "service:1"),
        (date(2026, 1, 14), micros(10), "service:2"),
        (FEB, micros(10), "service:2"),
        (MAR, micros(10), "service:2"),
    ]


def test_price_of_another_product_explains_no_charge() -> None:
    # Two upgrades of 1.00 for 21 and 11 of 31 days. The bill after them has the second price.
    text = f"Upgrade/Downgrade: {PLUS} => Web Business"
    again = upgrade("0.35", text, date(2026, 1, 21), id_=3)
    renewed = invoice(4, FEB, hosting(7, FEB, MAR, name="Web Business"))

    paid = periods(STARTED, upgrade("0.68"), again, renewed, items=[item(amount=7)])

    assert [round(row.mrr_micros, -4) for row in paid] == [micros(5), micros(6), micros(7), micros(7)]


def test_new_quantity_is_an_upgrade_to_the_same_product() -> None:
    started = invoice(1, JAN, hosting(5, JAN, FEB))

    paid = periods(started, upgrade(CHARGE, f"Upgrade/Downgrade: {PLUS} => {PLUS} x 2"))

    assert [(row.mrr_micros, row.product) for row in paid] == [
        (micros(5), "service:2"),
        (micros(10), "service:2"),
    ]


def test_line_from_before_the_payment_names_the_old_product() -> None:
    renewed = invoice(3, FEB, hosting(5, FEB, MAR, name=STARTER), issued_on=date(2026, 1, 12))
    late = upgrade(CHARGE, paid_on=date(2026, 1, 14))

    assert [row.from_on for row in periods(STARTED, late, renewed)] == [JAN, date(2026, 1, 14), FEB]


def test_service_that_never_began_fits_no_upgrade() -> None:
    registered_on = date(2025, 1, 1)
    refused = item(OTHER, label="example.org", registered_on=registered_on, has_begun=False)

    assert read(STARTED, upgrade(CHARGE), items=[item(), refused]).unlinked == ()


def test_service_that_came_later_fits_no_upgrade() -> None:
    later = item(OTHER, label="example.org", registered_on=FEB)
    imported = item(OTHER, label="example.org", registered_on=date(2025, 1, 1))

    assert read(STARTED, upgrade(CHARGE), items=[item(), later]).unlinked == ()
    assert len(read(STARTED, upgrade(CHARGE), items=[item(), imported]).unlinked) == 1


@pytest.mark.parametrize(("raised_to", "charge"), [("5.50", "3.05"), ("4.50", "3.73")])
def test_old_price_may_have_changed_since_its_last_bill(raised_to: str, charge: str) -> None:
    # The difference to 10.00 for 21 of 31 days.
    assert round((10 - float(raised_to)) * 21 / 31, 2) == float(charge)

    assert [row.mrr_micros for row in periods(STARTED, upgrade(charge))] == [micros(5), micros(10)]

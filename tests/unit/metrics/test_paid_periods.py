"""The periods that customers paid for, from the lines of their invoices."""

from datetime import date
from itertools import pairwise

import pytest

from libs.common.contracts.definitions import Definitions
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.invoices import LineIssue
from services.metrics.formulas.months import add_months
from tests.lines import (
    ADDON,
    CUSTOMER,
    DOMAIN,
    PLUS,
    SERVICE,
    hosting,
    invoice,
    item,
    line,
    micros,
    only,
    period,
    periods,
    read,
)

JAN, FEB, MAR, APR = (date(2026, month, 1) for month in (1, 2, 3, 4))


def test_line_covers_the_period_in_its_description() -> None:
    paid = only(invoice(5, JAN, hosting(10, JAN, FEB)))

    assert (paid.from_on, paid.to_on, paid.counts_from) == (JAN, FEB, JAN)
    assert (paid.mrr_micros, paid.amount_micros, paid.cycle_months) == (micros(10), micros(10), 1)
    assert (paid.invoice_id, paid.line_id, paid.customer_id, paid.currency) == (5, 500, CUSTOMER, "EUR")
    assert (paid.paid_on, paid.refunded_on, paid.basis, paid.is_rough) == (JAN, None, "invoice", False)


@pytest.mark.parametrize(
    ("months", "amount", "mrr_micros"),
    [
        (1, "10.00", 10_000_000),
        (3, "10.00", 3_333_333),
        (6, "50.00", 8_333_333),
        (12, "99.99", 8_332_500),
        (24, "100.00", 4_166_667),
        (36, "0.00", 0),
    ],
)
def test_amount_is_spread_over_the_months_of_its_period(months: int, amount: str, mrr_micros: int) -> None:
    paid = only(invoice(1, JAN, hosting(amount, JAN, add_months(JAN, months))))

    assert (paid.mrr_micros, paid.cycle_months) == (mrr_micros, months)


@pytest.mark.parametrize("status", ["draft", "unpaid", "payment_pending", "collections", "cancelled", "new"])
def test_line_of_an_unpaid_invoice_covers_nothing(status: str) -> None:
    assert periods(invoice(1, JAN, hosting(10, JAN, FEB), status=status, paid_on=None)) == ()


def test_invoice_whose_lines_are_not_read_covers_nothing() -> None:
    assert periods(invoice(1, JAN)._replace(lines=None)) == ()


@pytest.mark.parametrize(
    "kind", ["Setup", "LateFee", "GroupDiscount", "AddFunds", "Invoice", "", "MG_DIS_CHARGE"]
)
def test_line_of_another_type_is_left_out(kind: str) -> None:
    paid = only(invoice(1, JAN, hosting(10, JAN, FEB), line(kind, 5, "Something")))

    assert paid.mrr_micros == micros(10)


@pytest.mark.parametrize(
    ("kind", "subscription"),
    [
        ("Hosting", SERVICE),
        ("Addon", ADDON),
        ("Domain", DOMAIN),
        ("DomainRegister", DOMAIN),
        ("DomainTransfer", DOMAIN),
    ],
)
def test_line_bills_the_kind_that_its_type_names(kind: str, subscription: Subscription) -> None:
    result = read(
        invoice(1, JAN, line(kind, 12, f"A name{period(JAN, date(2027, 1, 1))}")), items=[item(subscription)]
    )

    assert [*result.of_subscription] == [subscription]
    assert result.of_subscription[subscription][0].mrr_micros == micros(1)


@pytest.mark.parametrize("kind", ["DomainAddonDNS", "DomainAddonEMF", "DomainAddonIDP"])
def test_extras_of_domains_cover_no_period(kind: str) -> None:
    assert periods(invoice(1, JAN, line(kind, 5)), subscription=DOMAIN, items=[item(DOMAIN)]) == ()


def test_ten_year_domain_is_one_period() -> None:
    text = f"Domain Registration - example.com - 10 Year/s{period(JAN, date(2036, 1, 1))}"

    paid = only(invoice(1, JAN, line("DomainRegister", 120, text)), subscription=DOMAIN)

    assert (paid.to_on, paid.mrr_micros, paid.cycle_months) == (date(2036, 1, 1), micros(1), 120)


def test_discount_addon_has_a_negative_mrr() -> None:
    paid = only(
        invoice(1, JAN, line("Addon", -5, f"Loyalty{period(JAN, FEB)}")), subscription=ADDON, items=[]
    )

    assert paid.mrr_micros == micros(-5)


def test_amount_of_minus_one_is_not_offered() -> None:
    result = read(invoice(1, JAN, hosting(-1, JAN, FEB)))

    assert result.of_subscription == {}
    assert result.issues == {SERVICE: (LineIssue.AMOUNT_NOT_OFFERED,)}


def test_free_term_has_an_mrr_of_zero() -> None:
    assert only(invoice(1, JAN, hosting(0, JAN, FEB))).mrr_micros == 0


def test_yen_are_exact() -> None:
    year = hosting(10_000, JAN, date(2027, 1, 1))

    assert only(invoice(1, JAN, year, currency="JPY")).mrr_micros == 833_333_333


def test_merged_invoice_pays_for_both_periods() -> None:
    both = invoice(3, MAR, hosting(10, JAN, FEB), hosting(10, FEB, MAR), paid_on=MAR)

    assert [(paid.from_on, paid.to_on) for paid in periods(both)] == [(JAN, FEB), (FEB, MAR)]


def test_lines_of_an_invoice_for_the_same_days_are_added_up() -> None:
    assert only(invoice(1, JAN, hosting(10, JAN, FEB), hosting(2, JAN, FEB))).mrr_micros == micros(12)


def test_same_days_on_another_invoice_are_paid_once() -> None:
    paid = only(invoice(1, JAN, hosting(10, JAN, FEB)), invoice(2, JAN, hosting(12, JAN, FEB)))

    assert (paid.invoice_id, paid.mrr_micros) == (2, micros(12))


def test_new_cycle_ends_the_period_before_it() -> None:
    year = invoice(1, JAN, hosting(100, JAN, date(2027, 1, 1)))
    month = invoice(2, MAR, hosting(10, MAR, APR))

    assert [(paid.from_on, paid.to_on) for paid in periods(year, month)] == [(JAN, MAR), (MAR, APR)]


def test_new_cycle_at_equal_monthly_value_keeps_the_mrr() -> None:
    month = invoice(1, JAN, hosting(10, JAN, FEB))
    year = invoice(2, FEB, hosting(120, FEB, date(2027, 2, 1)))

    assert [(paid.mrr_micros, paid.cycle_months) for paid in periods(month, year)] == [
        (micros(10), 1),
        (micros(10), 12),
    ]


def test_amount_that_no_bigint_holds_is_listed() -> None:
    too_large = line("Hosting", 0, f"Plan{period(JAN, date(2026, 1, 2))}")._replace(amount_micros=2**62)

    result = read(invoice(1, JAN, too_large))

    assert (result.of_subscription, result.issues) == ({}, {SERVICE: (LineIssue.AMOUNT_TOO_LARGE,)})


def test_paying_within_grace_counts_from_the_first_day() -> None:
    assert only(invoice(1, JAN, hosting(10, JAN, FEB), paid_on=date(2026, 1, 15))).counts_from == JAN


def test_paying_after_grace_counts_from_that_day() -> None:
    paid = only(invoice(1, JAN, hosting(10, JAN, FEB), paid_on=date(2026, 1, 16)))

    assert (paid.from_on, paid.counts_from) == (JAN, date(2026, 1, 16))


def test_grace_of_the_instance_decides_what_is_late() -> None:
    late = invoice(1, JAN, hosting(10, JAN, FEB), paid_on=date(2026, 1, 31))

    assert only(late, definitions=Definitions(service_grace_days=30)).counts_from == JAN
    assert only(late, definitions=Definitions(service_grace_days=0)).counts_from == date(2026, 1, 31)


def test_early_renewal_covers_the_next_period() -> None:
    first = invoice(1, JAN, hosting(10, JAN, FEB))
    early = invoice(2, date(2026, 1, 5), hosting(10, FEB, MAR))

    assert [(paid.from_on, paid.to_on, paid.mrr_micros) for paid in periods(first, early)] == [
        (JAN, FEB, micros(10)),
        (FEB, MAR, micros(10)),
    ]


def test_period_belongs_to_the_customer_of_its_invoice() -> None:
    paid = periods(
        invoice(1, JAN, hosting(10, JAN, FEB), customer_id=3),
        invoice(2, FEB, hosting(10, FEB, MAR), customer_id=4, currency="USD"),
        items=[item(customer_id=4)],
    )

    assert [(row.customer_id, row.currency) for row in paid] == [(3, "EUR"), (4, "USD")]


def test_service_without_a_record_has_periods() -> None:
    assert only(invoice(1, JAN, hosting(10, JAN, FEB)), items=[]).mrr_micros == micros(10)


def test_description_names_the_product_of_its_days() -> None:
    paid = periods(
        invoice(1, JAN, hosting(5, JAN, FEB, name="Web Starter")),
        invoice(2, FEB, hosting(10, FEB, MAR)),
        invoice(3, MAR, hosting(10, MAR, APR, name="An old name")),
    )

    assert [(row.product, row.product_name) for row in paid] == [
        ("service:1", "Web Starter"),
        ("service:2", PLUS),
        (None, None),
    ]


def test_item_without_lines_is_listed() -> None:
    free = item(Subscription("service", 2), 0)
    once = item(Subscription("service", 3), cycle="one_time")

    assert read(items=[item(), free, once]).issues == {SERVICE: (LineIssue.NO_LINE,)}


def test_31_january_renews_on_the_last_days_of_months() -> None:
    days = [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)]
    bills = [
        invoice(number, from_on, hosting(10, from_on, to_on))
        for number, (from_on, to_on) in enumerate(pairwise(days), start=1)
    ]

    assert [(paid.from_on, paid.to_on, paid.mrr_micros) for paid in periods(*bills)] == [
        (from_on, to_on, micros(10)) for from_on, to_on in pairwise(days)
    ]


def test_year_from_a_leap_day_is_twelve_months() -> None:
    leap_day = date(2024, 2, 29)

    paid = only(invoice(1, leap_day, hosting(120, leap_day, date(2025, 2, 28))))

    assert (paid.mrr_micros, paid.cycle_months) == (micros(10), 12)

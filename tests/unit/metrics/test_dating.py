"""Days of lines without a period in their description: the due date and the cycle."""

from datetime import date

import pytest

from libs.common.contracts.money import parse_micros as micros
from services.metrics.formulas.invoices import LineIssue, PaidPeriod
from tests.lines import DOMAIN, SERVICE, hosting, invoice, item, line, only, periods, read

JAN, FEB, MAR, APR = (date(2026, month, 1) for month in (1, 2, 3, 4))
NEXT_JAN = date(2027, 1, 1)


def days(paid: tuple[PaidPeriod, ...]) -> list[tuple[date, date]]:
    return [(row.from_on, row.to_on) for row in paid]


def test_due_date_and_cycle_date_a_line_roughly() -> None:
    result = read(invoice(1, JAN, hosting(120)), items=[item(cycle="annually")])

    [paid] = result.of_subscription[SERVICE]
    assert (paid.from_on, paid.to_on, paid.mrr_micros) == (JAN, NEXT_JAN, micros(10))
    assert paid.is_rough
    assert result.issues == {SERVICE: (LineIssue.DATED_ROUGHLY,)}


def test_issue_date_stands_in_for_a_missing_due_date() -> None:
    assert days(periods(invoice(1, None, hosting(10), issued_on=FEB))) == [(FEB, MAR)]


def test_line_without_any_date_is_listed() -> None:
    result = read(invoice(1, None, hosting(10)))

    assert result.of_subscription == {}
    assert result.issues == {SERVICE: (LineIssue.PERIOD_UNKNOWN,)}


@pytest.mark.parametrize("cycle", ["unknown", None])
def test_line_without_a_cycle_is_listed(cycle: str | None) -> None:
    items = [] if cycle is None else [item(cycle=cycle)]

    assert read(invoice(1, JAN, hosting(10)), items=items).issues == {SERVICE: (LineIssue.PERIOD_UNKNOWN,)}


@pytest.mark.parametrize("cycle", ["one_time", "free"])
def test_line_that_never_recurs_covers_nothing(cycle: str) -> None:
    result = read(invoice(1, JAN, hosting(10)), items=[item(cycle=cycle)])

    assert (result.of_subscription, result.issues) == ({}, {})


def test_printed_period_counts_after_the_service_ceased_to_recur() -> None:
    assert only(invoice(1, JAN, hosting(10, JAN, FEB)), items=[item(cycle="one_time")]).mrr_micros == micros(
        10
    )


@pytest.mark.parametrize(
    ("text", "to_on"),
    [
        ("Domain Renewal - example.com - 2 Year/s", date(2028, 1, 1)),
        ("Domain-Verlängerung - example.com - 10 Jahr/e", date(2036, 1, 1)),
        ("Domain Renewal - example.com", NEXT_JAN),
        ("Domain Renewal - example.com - 99 Year/s", NEXT_JAN),
    ],
)
def test_line_of_a_domain_names_its_years(text: str, to_on: date) -> None:
    paid = only(invoice(1, JAN, line("Domain", 12, text)), subscription=DOMAIN, items=[item(DOMAIN)])

    assert paid.to_on == to_on


def test_number_in_the_name_of_a_product_is_no_term() -> None:
    assert only(invoice(1, JAN, hosting(10, name="Reseller - 5 Accounts"))).to_on == FEB


def test_early_renewal_begins_when_the_period_before_it_ends() -> None:
    bills = invoice(1, JAN, hosting(10)), invoice(2, date(2026, 1, 20), hosting(10))

    assert days(periods(*bills)) == [(JAN, FEB), (FEB, MAR)]


def test_merged_lines_follow_each_other() -> None:
    assert days(periods(invoice(1, JAN, hosting(10), hosting(10)))) == [(JAN, FEB), (FEB, MAR)]


def test_refunded_line_moves_no_other() -> None:
    bills = (
        invoice(1, JAN, hosting(10), status="refunded", refunded_on=date(2026, 1, 2)),
        invoice(2, date(2026, 1, 3), hosting(10)),
    )

    assert days(periods(*bills)) == [(JAN, date(2026, 1, 3)), (date(2026, 1, 3), date(2026, 2, 3))]


def test_lapsed_service_leaves_a_gap() -> None:
    bills = invoice(1, JAN, hosting(10)), invoice(2, APR, hosting(10))

    assert days(periods(*bills)) == [(JAN, FEB), (APR, date(2026, 5, 1))]


def test_monthly_lines_stay_monthly_before_an_annual_cycle() -> None:
    bills = invoice(1, JAN, hosting(10)), invoice(2, FEB, hosting(10)), invoice(3, MAR, hosting(96))

    paid = periods(*bills, items=[item(amount=96, cycle="annually")])

    assert [(row.to_on, row.mrr_micros) for row in paid] == [
        (FEB, micros(10)),
        (MAR, micros(10)),
        (date(2027, 3, 1), micros(8)),
    ]


def test_annual_lines_stay_annual_before_a_monthly_cycle() -> None:
    bills = invoice(1, JAN, hosting(96)), invoice(2, NEXT_JAN, hosting(10))

    assert [(row.to_on, row.mrr_micros) for row in periods(*bills)] == [
        (NEXT_JAN, micros(8)),
        (date(2027, 2, 1), micros(10)),
    ]


def test_31_january_without_periods_renews_on_the_last_days() -> None:
    bills = (
        invoice(1, date(2026, 1, 31), hosting(10)),
        invoice(2, date(2026, 2, 28), hosting(10)),
        invoice(3, date(2026, 3, 31), hosting(10)),
    )

    assert days(periods(*bills)) == [
        (date(2026, 1, 31), date(2026, 2, 28)),
        (date(2026, 2, 28), date(2026, 3, 31)),
        (date(2026, 3, 31), date(2026, 4, 30)),
    ]


def test_ambiguous_date_falls_back_on_the_due_date() -> None:
    ambiguous = line("Hosting", 10, "Web Plus (01/02/2026 - 01/03/2026)")

    result = read(invoice(1, FEB, ambiguous), date_order=None)

    assert days(result.of_subscription[SERVICE]) == [(FEB, MAR)]
    assert result.issues == {SERVICE: (LineIssue.DATE_FORMAT_UNKNOWN, LineIssue.DATED_ROUGHLY)}


def test_next_due_date_may_be_printed_as_the_end() -> None:
    printed = line("Hosting", 10, "Web Plus (01/01/2026 - 01/02/2026)")

    assert days(periods(invoice(1, JAN, printed))) == [(JAN, FEB)]


def test_mistyped_year_is_no_period() -> None:
    printed = line("Hosting", 10, "Web Plus (01/01/2026 - 31/01/2126)")

    assert days(periods(invoice(1, JAN, printed))) == [(JAN, FEB)]

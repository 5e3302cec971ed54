"""The hard cases of one subscription's life, from invoices and observations to segments.

One file because it is a list: each case has one test that is named after it.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import Cause
from services.metrics.formulas.evidence import Observation, Request, Version, add_version
from services.metrics.formulas.invoices import Invoice
from services.metrics.formulas.timeline import Timeline
from tests.builders import subscription
from tests.lines import (
    ADDON,
    DOMAIN,
    PLUS,
    STARTER,
    hosting,
    invoice,
    item,
    paid_back,
    paid_in,
    periods,
    promotion,
)
from tests.lines import line as line_of
from tests.unit.metrics.timelines import CUSTOMER, OTHER, contract, day, line, live_on, seen, spans

JANUARY, FEBRUARY, MARCH, APRIL = (date(2026, month, 1) for month in (1, 2, 3, 4))


def since(*invoices: Invoice, later: Sequence[Observation] = (), **values: Any) -> Timeline:
    """Return the timeline of a service that the first sync saw on 1 March: Web Plus at 10.00 a month, paid until 1 April."""
    evidence = {name: values.pop(name) for name in ("requests", "grace_days") if name in values}
    defaults = {"last_read_on": None, "registered_on": JANUARY, "next_due_on": APRIL}
    record = seen(0, **(defaults | {"product": "service:2", "product_name": PLUS} | values))
    of_lines = item(
        amount=record.recurring_micros // 1_000_000,
        cycle=record.cycle,
        registered_on=record.registered_on,
        product=record.product,
    )
    return line(record, *later, paid_periods=periods(*invoices, items=[of_lines]), **evidence)


def bill(number: int, from_on: date, to_on: date, amount: Any = 10, *others: Any, **values: Any) -> Invoice:
    name = values.pop("name", PLUS)
    return invoice(number, from_on, hosting(amount, from_on, to_on, name=name), *others, **values)


def steps(result: Timeline) -> list[tuple[date, date | None, int]]:
    return [(s.from_on, s.to_on, s.mrr_micros // 1_000_000) for s in contract(result)]


def test_same_day_cancel_and_reorder_is_no_change() -> None:
    assert line(seen(0), seen(3, status="cancelled"), seen(3)) == line(seen(0))


def test_upgrade_mid_term_counts_from_its_day() -> None:
    raised = {"recurring_micros": 20_000_000, "product": "service:2", "product_name": PLUS}
    observed = line(seen(0), seen(9, **raised))
    upgrade = invoice(
        3, date(2026, 2, 11), line_of("Upgrade", 6, f"Upgrade/Downgrade: example.com\n{STARTER} => {PLUS}")
    )
    billed = since(
        bill(1, JANUARY, FEBRUARY, name=STARTER),
        bill(2, FEBRUARY, MARCH, name=STARTER),
        upgrade,
        bill(4, MARCH, APRIL, 20),
        recurring_micros=20_000_000,
    )

    assert steps(observed) == [(day(0), day(9), 10), (day(9), day(35), 20)]
    assert [segment.product for segment in contract(observed)] == ["service:1", "service:2"]
    assert [(s.from_on, s.product) for s in contract(billed)][:2] == [
        (JANUARY, "service:1"),
        (date(2026, 2, 11), "service:2"),
    ]


def test_cycle_change_at_equal_monthly_value_moves_no_mrr() -> None:
    result = line(seen(0), seen(5, cycle="annually", recurring_micros=120_000_000))

    assert steps(result) == [(day(0), day(5), 10), (day(5), day(35), 10)]
    assert [segment.cycle for segment in contract(result)] == ["monthly", "annually"]


def test_annual_to_monthly_at_a_higher_price_is_dated() -> None:
    yearly = bill(1, date(2025, 3, 1), MARCH, 96)

    observed = line(seen(0, cycle="annually", recurring_micros=96_000_000), seen(5))
    billed = since(yearly, bill(2, MARCH, APRIL), registered_on=date(2025, 3, 1))

    assert steps(observed) == [(day(0), day(5), 8), (day(5), day(35), 10)]
    assert steps(billed) == [(date(2025, 3, 1), MARCH, 8), (MARCH, day(46), 10)]


def test_promotion_with_cycles_ends_by_its_lines() -> None:
    reduced = [
        bill(number, from_on, to_on, 10, promotion(-2, "FOREVER"))
        for number, from_on, to_on in (
            (1, date(2025, 12, 5), date(2026, 1, 5)),
            (2, date(2026, 1, 5), date(2026, 2, 5)),
        )
    ]
    full = bill(3, date(2026, 2, 5), date(2026, 3, 5))

    result = since(*reduced, full, registered_on=date(2025, 12, 5), next_due_on=date(2026, 3, 5))

    assert steps(result) == [
        (date(2025, 12, 5), date(2026, 2, 5), 8),
        (date(2026, 2, 5), date(2026, 3, 20), 10),
    ]


def test_promotion_of_100_percent_counts_nothing_while_it_lasts() -> None:
    free = bill(1, date(2026, 1, 5), date(2026, 2, 5), 10, promotion(-10, "FOREVER"))
    full = bill(2, date(2026, 2, 5), date(2026, 3, 5))

    ended = since(free, full, registered_on=date(2026, 1, 5), next_due_on=date(2026, 3, 5))
    begun = line(seen(0), seen(4, recurring_micros=0))

    assert steps(ended) == [(date(2026, 2, 5), date(2026, 3, 20), 10)]
    assert [(s.to_on, s.cause) for s in contract(begun)] == [(day(4), Cause.BECAME_FREE)]


def test_price_of_minus_one_counts_nowhere_and_is_listed() -> None:
    result = line(seen(0, recurring_micros=-1_000_000))

    assert (result.segments, result.issues) == ((), ("amount_not_offered",))


def test_discount_addon_lowers_mrr_and_is_listed() -> None:
    record = seen(0, recurring_micros=-5_000_000, registered_on=JANUARY, last_read_on=None)
    bills = invoice(1, FEBRUARY, line_of("Addon", -5, "Loyalty Discount (01/02/2026 - 28/02/2026)"))
    paid = periods(bills, subscription=ADDON, items=[])

    result = line(record, seen(3, status="cancelled"), kind=Kind.ADDON, paid_periods=paid)

    assert steps(result) == [(JANUARY, day(3), -5)]
    assert line(record).issues == ("amount_negative",)


def test_quantity_above_one_multiplies_nothing() -> None:
    result = line(seen(0), seen(4, quantity=3, recurring_micros=30_000_000))

    assert [(s.quantity, s.mrr_micros) for s in contract(result)] == [(1, 10_000_000), (3, 30_000_000)]


def test_free_domain_tied_to_hosting_counts_nowhere() -> None:
    free = line(seen(0, cycle="years_1", recurring_micros=0), kind=Kind.DOMAIN)

    assert (free.segments, free.issues) == ((), ())


def test_domain_of_10_years_has_a_120th_of_its_price() -> None:
    days = (date(2020, 1, 1), date(2030, 1, 1))
    registered = invoice(
        1,
        days[0],
        line_of(
            "DomainRegister", 120, "Domain Registration - example.com - 10 Year/s (01/01/2020 - 31/12/2029)"
        ),
    )
    of_lines = item(DOMAIN, 120, cycle="years_10", registered_on=days[0])
    record = seen(
        0,
        cycle="years_10",
        recurring_micros=120_000_000,
        registered_on=days[0],
        next_due_on=days[1],
        last_read_on=None,
    )

    result = line(
        record, kind=Kind.DOMAIN, paid_periods=periods(registered, items=[of_lines], subscription=DOMAIN)
    )

    assert steps(result) == [(days[0], date(2030, 1, 16), 1)]


def test_addon_left_under_a_terminated_parent_counts() -> None:
    record = seen(0, last_read_on=None, registered_on=day(-30))

    result = line(record, kind=Kind.ADDON, paid_periods=[], parent_ended_on=day(-10))

    assert spans(result) == [(day(-30), day(35))]


def test_subscription_suspended_for_abuse_counts_while_paid() -> None:
    result = line(seen(0), seen(3, status="suspended"))

    assert spans(result) == [(day(0), day(3)), (day(3), day(35))]
    assert contract(result)[0].cause is None


def test_subscription_terminated_after_grace_ended_with_it() -> None:
    result = line(seen(0), seen(60, status="terminated", last_read_on=day(59)))

    assert [(s.to_on, s.cause) for s in contract(result)] == [(day(35), Cause.NON_PAYMENT)]


def test_row_deleted_between_two_syncs_ends_on_the_second() -> None:
    result = line(seen(0), seen(6, is_removed=True))

    assert [(s.to_on, s.cause) for s in contract(result)] == [(day(6), Cause.DISAPPEARED)]


def test_client_re_created_to_change_currency_moves_on_one_day() -> None:
    result = line(seen(0), seen(4, customer_id=OTHER))

    assert [(s.customer_id, s.currency, s.from_on, s.cause) for s in contract(result)] == [
        (CUSTOMER, "EUR", day(0), None),
        (OTHER, "USD", day(4), Cause.NON_PAYMENT),
    ]


def test_merged_invoice_pays_for_its_days_alone() -> None:
    two_months = invoice(1, JANUARY, hosting(10, JANUARY, FEBRUARY), hosting(10, FEBRUARY, MARCH))

    assert steps(since(two_months, bill(2, MARCH, APRIL))) == [(JANUARY, day(46), 10)]


def test_mass_payment_and_funds_are_no_revenue() -> None:
    mass = invoice(9, JANUARY, line_of("Invoice", 10, "Invoice #1"), line_of("AddFunds", 50, "Add Funds"))

    assert steps(since(bill(1, JANUARY, FEBRUARY), mass)) == steps(since(bill(1, JANUARY, FEBRUARY)))


def test_credit_applied_to_an_invoice_pays_for_its_days() -> None:
    by_credit = bill(1, JANUARY, FEBRUARY, 10, credit_micros=10_000_000, total_micros=0)

    assert steps(since(by_credit, next_due_on=FEBRUARY)) == [(JANUARY, date(2026, 2, 16), 10)]


@pytest.mark.parametrize(
    ("refund", "end"),
    [
        ({"status": "refunded", "refunded_on": date(2026, 1, 20)}, date(2026, 1, 20)),
        # A chargeback: the bank takes all money back.
        (
            {
                "status": "collections",
                "payments": (paid_in(JANUARY, 10), paid_back(date(2026, 1, 20), 10)),
            },
            date(2026, 1, 20),
        ),
        # A refund to credit moves no money.
        (
            {
                "status": "refunded",
                "refunded_on": date(2026, 1, 20),
                "payments": (paid_in(JANUARY, 10),),
            },
            date(2026, 1, 20),
        ),
        ({"payments": (paid_back(date(2026, 1, 20), 3),)}, date(2026, 2, 16)),
    ],
)
def test_refund_in_full_ends_and_in_part_does_not(refund: dict[str, Any], end: date) -> None:
    result = since(bill(1, JANUARY, FEBRUARY, **refund), status="terminated", next_due_on=FEBRUARY)

    assert [(s.from_on, s.to_on) for s in contract(result)] == [(JANUARY, end)]


def test_zero_decimal_currency_keeps_its_amounts() -> None:
    yen = seen(0, recurring_micros=1_000_000_000, cycle="quarterly")

    assert {s.mrr_micros for s in contract(line(yen, currencies={CUSTOMER: "JPY"}))} == {333_333_333}


@pytest.mark.parametrize(
    ("moment", "on"),
    [
        # Clocks in Lisbon went from 01:00 to 02:00 on 29 March 2026, and go from 02:00 to 01:00 on 25 October.
        (datetime(2026, 3, 28, 23, 30, tzinfo=UTC), date(2026, 3, 28)),
        (datetime(2026, 3, 29, 23, 30, tzinfo=UTC), date(2026, 3, 30)),
        (datetime(2026, 10, 24, 23, 30, tzinfo=UTC), date(2026, 10, 25)),
        (datetime(2026, 10, 25, 23, 30, tzinfo=UTC), date(2026, 10, 25)),
    ],
)
def test_change_belongs_to_its_day_when_clocks_change(moment: datetime, on: date) -> None:
    observations: list[Observation] = []
    for observed_at, price in ((moment - timedelta(days=9), 10), (moment, 12)):
        body = subscription(1, CUSTOMER, recurring_micros=price * 1_000_000, next_due_on="2026-12-21")
        add_version(observations, Version("service", 1, observed_at, body), [], "Europe/Lisbon")

    assert [(s.from_on, s.mrr_micros) for s in contract(line(*observations))][-1] == (on, 12_000_000)


def test_leap_day_is_a_day_like_others() -> None:
    leap = date(2024, 2, 29)

    result = since(
        bill(1, leap, date(2025, 2, 28), 120),
        cycle="annually",
        registered_on=leap,
        next_due_on=date(2025, 2, 28),
    )

    assert [(s.from_on, s.to_on) for s in contract(result)] == [(leap, date(2025, 3, 15))]


def test_anniversaries_on_31_january_leave_no_gap() -> None:
    ends = [date(2025, 10, 31), date(2025, 11, 30), date(2025, 12, 31), date(2026, 1, 31), date(2026, 2, 28)]
    bills = [bill(number, *days) for number, days in enumerate(pairwise(ends), 1)]

    result = since(*bills, registered_on=ends[0], next_due_on=date(2026, 2, 28), grace_days=0)

    assert spans(result) == [(ends[0], date(2026, 3, 1))]


def test_10_years_of_history_are_one_segment() -> None:
    months = [date(2016 + number // 12, number % 12 + 1, 1) for number in range(124)]
    bills = [bill(number, *days) for number, days in enumerate(pairwise(months), 1)]

    assert steps(since(*bills, registered_on=months[0])) == [(months[0], day(46), 10)]


def test_second_full_sync_changes_nothing() -> None:
    assert line(seen(0), seen(1, last_read_on=day(0))) == line(seen(0))


def test_partial_sync_ends_nothing() -> None:
    # A sync that did not read the row left no observation and no reading.
    assert spans(line(seen(0), seen(40, next_due_on=day(60), last_read_on=day(0)))) == [(day(0), day(75))]


def test_early_renewal_is_no_expansion() -> None:
    early = bill(3, APRIL, date(2026, 5, 1), paid_on=date(2026, 2, 20))

    result = since(
        bill(1, JANUARY, FEBRUARY),
        bill(2, FEBRUARY, MARCH),
        bill(4, MARCH, APRIL),
        early,
        next_due_on=date(2026, 5, 1),
    )

    assert steps(result) == [(JANUARY, date(2026, 5, 16), 10)]


def test_unpaid_then_paid_late_is_a_lapse_and_a_return() -> None:
    late = bill(2, FEBRUARY, APRIL, 20, paid_on=date(2026, 2, 25))

    observed = line(seen(0, next_due_on=day(0)), seen(20, next_due_on=day(30)))
    billed = since(bill(1, JANUARY, FEBRUARY), late)

    assert spans(observed) == [(day(0), day(15)), (day(20), day(45))]
    assert spans(billed) == [(JANUARY, date(2026, 2, 16)), (date(2026, 2, 25), day(46))]
    assert contract(billed)[0].cause == contract(observed)[0].cause == Cause.NON_PAYMENT


def test_same_change_twice_in_a_life_is_dated_twice() -> None:
    prices = [10, 12, 10, 12]

    result = line(*(seen(3 * n, recurring_micros=price * 1_000_000) for n, price in enumerate(prices)))

    assert [(s.from_on, s.mrr_micros // 1_000_000) for s in contract(result)] == [
        (day(0), 10),
        (day(3), 12),
        (day(6), 10),
        (day(9), 12),
    ]


def test_withdrawn_request_while_paying_late_each_month() -> None:
    asked = Request(day(-20), id=1, is_open=True, requested_on=day(-20))
    late = [seen(30 * n + 8, next_due_on=day(30 * n + 30), last_read_on=day(30 * n + 7)) for n in range(3)]
    bills = [
        bill(n + 1, day(30 * n), day(30 * n + 30), issued_on=day(30 * n - 7), paid_on=day(30 * n + 8))
        for n in range(3)
    ]

    result = line(
        seen(0, next_due_on=day(0)), *late, requests=[asked], paid_periods=periods(*bills, items=[item()])
    )

    # The first month ended by the request. Its payment shows that the customer stays, so paying late ends nothing any more.
    assert spans(result) == [(day(0), day(1)), (day(8), day(105))]


def test_unreadable_row_was_not_seen_unpaid() -> None:
    repaired = seen(45, next_due_on=day(60), last_read_on=day(0))

    assert spans(line(seen(0, next_due_on=day(10)), repaired)) == [(day(0), day(75))]


def test_due_date_missing_for_a_fortnight_leaves_no_gap() -> None:
    result = line(seen(0, next_due_on=day(5)), seen(3, next_due_on=None), seen(17, next_due_on=day(35)))

    assert spans(result) == [(day(0), day(50))]


def test_terms_of_30_days_do_not_flap() -> None:
    late = [seen(30 * n + 28, next_due_on=day(30 * n + 30)) for n in range(3)]

    result = line(seen(0, next_due_on=day(0)), *late, grace_days=30)

    assert spans(result) == [(day(0), day(121))]
    assert len(spans(line(seen(0, next_due_on=day(0)), *late))) == 4


def test_subscription_of_a_deleted_customer_is_in_no_total() -> None:
    result = line(seen(0), seen(5, customer_id=99))

    assert result.issues == ("currency_unknown",)
    assert live_on(result, day(5)) == live_on(result, day(5), Lens.ACTIVE) == []

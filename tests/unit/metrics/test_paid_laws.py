"""Laws of paid periods, for any invoices of a customer."""

from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.invoices import Invoice, Item
from services.metrics.formulas.months import add_months
from services.metrics.formulas.paid_periods import PaidPeriods, paid_periods
from tests.lines import CUSTOMER, RULES, hosting, invoice, item, line, only, promotion

# A customer's life: any invoices for two subscriptions, which overlap, are late, refunded, discounted or without a period.
_STARTS = st.dates(date(2024, 1, 1), date(2026, 12, 31))
_MONTHS = st.sampled_from([1, 3, 6, 12, 24, 36])


@st.composite
def bills(draw: st.DrawFn) -> list[Invoice]:
    result = []
    for id_ in range(1, draw(st.integers(1, 12)) + 1):
        start, months = draw(_STARTS), draw(_MONTHS)
        days = (start, add_months(start, months) + timedelta(days=draw(st.sampled_from([0, 0, 0, -5, 9]))))
        amount = draw(st.integers(-500, 20_000))
        related_id = draw(st.integers(1, 2))
        lines = [
            hosting(f"{amount / 100:.2f}", *(days if draw(st.booleans()) else ()), related_id=related_id),
        ]
        if draw(st.booleans()):
            lines.append(
                promotion(
                    "-1.50", draw(st.sampled_from(["FOREVER", "WELCOME", "OLD"])), related_id=related_id
                )
            )
        if draw(st.integers(0, 4)) == 0:
            lines.append(line("Upgrade", 3, "Upgrade/Downgrade: Web Starter => Web Plus", related_id=id_))
        if draw(st.integers(0, 4)) == 0:
            lines.append(line("Item", 20, "Trustee", related_id=related_id))
        status = draw(st.sampled_from(["paid", "paid", "paid", "refunded", "unpaid"]))
        paid_on = start + timedelta(days=draw(st.integers(-20, 60)))
        result.append(invoice(id_, start, *lines, status=status, paid_on=paid_on, refunded_on=paid_on))
    return result


ITEMS = [item(), item(Subscription("service", 2), 7, cycle="annually")]


def result_of(invoices: list[Invoice], items: list[Item] = ITEMS) -> PaidPeriods:
    return paid_periods(invoices, items, RULES)


@given(bills())
def test_periods_of_a_subscription_are_ordered(invoices: list[Invoice]) -> None:
    for of_one in result_of(invoices).of_subscription.values():
        assert all(paid.from_on < paid.to_on for paid in of_one)
        assert all(paid.to_on <= other.from_on for paid, other in pairwise(of_one))
        assert all(paid.from_on <= paid.counts_from for paid in of_one)


@given(bills(), st.randoms(use_true_random=False))
def test_order_of_invoices_is_without_effect(invoices: list[Invoice], random: Random) -> None:
    shuffled = [
        bill._replace(lines=tuple(random.sample(bill.lines or (), len(bill.lines or ()))))
        for bill in invoices
    ]
    random.shuffle(shuffled)

    assert result_of(shuffled, ITEMS[::-1]) == result_of(invoices)


@given(bills())
def test_unpaid_invoices_are_without_effect(invoices: list[Invoice]) -> None:
    assert result_of([bill for bill in invoices if bill.status != "unpaid"]) == result_of(invoices)


@given(bills(), bills())
def test_customers_are_computed_apart(invoices: list[Invoice], others: list[Invoice]) -> None:
    moved = [
        bill._replace(
            id=bill.id + 100,
            customer_id=CUSTOMER + 1,
            lines=tuple(
                row._replace(id=row.id + 10_000, related_id=(row.related_id or 0) + 100)
                for row in bill.lines or ()
            ),
        )
        for bill in others
    ]
    elsewhere = [row._replace(id=row.id + 100, customer_id=CUSTOMER + 1) for row in ITEMS]
    together = result_of([*invoices, *moved], [*ITEMS, *elsewhere]).of_subscription

    assert together == {**result_of(invoices).of_subscription, **result_of(moved, elsewhere).of_subscription}


@given(_STARTS, st.integers(-10_000, 10_000_000), _MONTHS)
def test_amount_spread_over_its_months_adds_up(start: date, hundredths: int, months: int) -> None:
    bill = invoice(1, start, hosting(f"{hundredths / 100:.2f}", start, add_months(start, months)))
    if hundredths == -100:
        return

    paid = only(bill)

    # Rounding to micros once moves the sum by less than one micro a month.
    assert abs(paid.mrr_micros * months - paid.amount_micros) <= Fraction(months, 2)
    assert paid.amount_micros == hundredths * 10_000

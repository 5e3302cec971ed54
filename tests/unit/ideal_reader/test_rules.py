"""Each rule of the ideal reader, on one subscription whose lines and record are written out."""

from datetime import date
from typing import Any

import pytest

from tests.ideal_reader.periods import whole_months
from tests.ideal_reader.reader import history
from tests.ideal_reader.shown import Invoice, Key, Line, Request, Row, Shown

TODAY = date(2026, 11, 24)
TOMORROW = date(2026, 11, 25)
SERVICE: Key = ("service", 1)
PRICE = 10_000_000


def bill(
    from_on: date,
    until: date,
    *,
    amount: int = PRICE,
    paid_on: date | None = None,
    status: str = "Paid",
    customer: int = 1,
    type_: str = "Hosting",
    text: str = "Web Plus",
    **dates: date,
) -> Line:
    issued_on = dates.get("issued_on", from_on)
    invoice = Invoice(
        from_on.toordinal(),
        customer,
        "EUR",
        status,
        issued_on,
        from_on,
        paid_on or from_on,
        dates.get("refunded_on"),
    )
    return Line(type_, 1, text, amount, invoice, (from_on, until))


def row(**values: Any) -> Row:
    return Row(
        SERVICE, 1, None, "Web Plus", "Active", 1, PRICE, date(2026, 8, 10), date(2026, 12, 10), True
    )._replace(**values)


def stretches(
    lines: list[Line], record: Row | None, *, upgrades: tuple[Line, ...] = (), request: Request | None = None
) -> list[tuple[date, date, int]]:
    shown = Shown(
        today=TODAY,
        rows={SERVICE: record} if record else {},
        currencies={1: "EUR", 2: "EUR"},
        billed={SERVICE: lines},
        upgrades=list(upgrades),
        requests={SERVICE: request} if request else {},
        lasting_codes=frozenset({"LOYAL"}),
    )
    return [(s.from_on, s.to_on, s.mrr_micros) for s in history(shown)]


def charge(amount: int, on: date) -> Line:
    """Return a paid charge for a dearer product."""
    return bill(on, on, type_="Upgrade", amount=amount, text="Upgrade/Downgrade: Web Plus => Web Business")


def months(*starts: date, until: date, **values: Any) -> list[Line]:
    """Return paid bills one after another."""
    return [bill(a, b, **values) for a, b in zip(starts, [*starts[1:], until], strict=True)]


AUGUST, SEPTEMBER, OCTOBER, NOVEMBER, DECEMBER = (date(2026, month, 10) for month in range(8, 13))
FOUR_MONTHS = months(AUGUST, SEPTEMBER, OCTOBER, NOVEMBER, until=DECEMBER)


def test_bills_without_gap_are_one_stretch_until_today() -> None:
    assert stretches(FOUR_MONTHS, row()) == [(AUGUST, TOMORROW, PRICE)]


def test_todays_price_counts_from_the_start_of_its_period() -> None:
    assert stretches(FOUR_MONTHS, row(recurring_micros=12_000_000)) == [
        (AUGUST, NOVEMBER, PRICE),
        (NOVEMBER, TOMORROW, 12_000_000),
    ]


def test_payment_after_the_grace_leaves_a_gap() -> None:
    late = [*FOUR_MONTHS[:2], bill(OCTOBER, NOVEMBER, paid_on=date(2026, 11, 1)), FOUR_MONTHS[3]]

    assert stretches(late, row()) == [
        (AUGUST, date(2026, 10, 25), PRICE),
        (date(2026, 11, 1), TOMORROW, PRICE),
    ]


def test_payment_within_the_grace_leaves_no_gap() -> None:
    late = [*FOUR_MONTHS[:2], bill(OCTOBER, NOVEMBER, paid_on=date(2026, 10, 24)), FOUR_MONTHS[3]]

    assert stretches(late, row()) == [(AUGUST, TOMORROW, PRICE)]


def test_unpaid_service_ends_after_the_grace() -> None:
    assert stretches(FOUR_MONTHS[:2], row(status="Terminated", next_due_on=OCTOBER)) == [
        (AUGUST, date(2026, 10, 25), PRICE)
    ]


@pytest.mark.parametrize(("is_immediate", "to_on"), [(False, date(2026, 10, 11)), (True, date(2026, 10, 2))])
def test_request_dates_the_end(is_immediate: bool, to_on: date) -> None:
    request = Request(date(2026, 10, 2), is_immediate)

    record = row(status="Cancelled", next_due_on=OCTOBER)

    assert stretches(FOUR_MONTHS[:2], record, request=request) == [(AUGUST, to_on, PRICE)]


def test_request_before_a_later_paid_invoice_was_withdrawn() -> None:
    request = Request(date(2026, 9, 1), False)

    record = row(status="Cancelled", next_due_on=OCTOBER)

    assert stretches(FOUR_MONTHS[:2], record, request=request) == [(AUGUST, date(2026, 10, 25), PRICE)]


def test_refund_of_the_last_bill_ends_on_its_day() -> None:
    refunded = bill(SEPTEMBER, OCTOBER, status="Refunded", refunded_on=date(2026, 9, 20))

    record = row(status="Cancelled", next_due_on=OCTOBER)

    assert stretches([FOUR_MONTHS[0], refunded], record) == [(AUGUST, date(2026, 9, 20), PRICE)]


def test_upgrade_dates_the_price_within_a_period() -> None:
    on = date(2026, 11, 15)
    # 5.00 more for 25 of 30 days.
    upgrade = charge(4_166_667, on)

    record = row(name="Web Business", recurring_micros=15_000_000)

    assert stretches(FOUR_MONTHS, record, upgrades=(upgrade,)) == [
        (AUGUST, on, PRICE),
        (on, TOMORROW, 15_000_000),
    ]


def test_upgrade_changes_the_periods_paid_ahead() -> None:
    on = date(2026, 9, 20)
    ahead = [line._replace(invoice=line.invoice._replace(issued_on=AUGUST)) for line in FOUR_MONTHS]
    upgrade = charge(3_333_333, on)

    record = row(name="Web Business", recurring_micros=15_000_000)

    assert stretches(ahead, record, upgrades=(upgrade,)) == [
        (AUGUST, on, PRICE),
        (on, TOMORROW, 15_000_000),
    ]


def test_upgrade_has_the_price_of_the_next_bill() -> None:
    on = date(2026, 9, 20)
    upgrade = charge(3_333_333, on)
    dearer = months(OCTOBER, NOVEMBER, until=DECEMBER, amount=15_000_000, text="Web Business")

    record = row(name="Web Business", recurring_micros=16_000_000)

    assert stretches([*FOUR_MONTHS[:2], *dearer], record, upgrades=(upgrade,)) == [
        (AUGUST, on, PRICE),
        (on, NOVEMBER, 15_000_000),
        (NOVEMBER, TOMORROW, 16_000_000),
    ]


def test_charge_tells_the_price_when_no_bill_shows_it() -> None:
    on = date(2026, 9, 20)
    dearer = months(OCTOBER, NOVEMBER, until=DECEMBER, amount=19_000_000, text="Web Business")

    record = row(name="Web Business", recurring_micros=19_000_000)

    assert stretches([*FOUR_MONTHS[:2], *dearer], record, upgrades=(charge(3_333_333, on),)) == [
        (AUGUST, on, PRICE),
        (on, OCTOBER, 15_000_000),
        (OCTOBER, TOMORROW, 19_000_000),
    ]


def test_upgrade_is_none_when_the_next_bill_has_the_old_product() -> None:
    on = date(2026, 8, 20)
    dearer = months(NOVEMBER, until=DECEMBER, amount=15_000_000, text="Web Business")

    record = row(name="Web Business", recurring_micros=15_000_000)

    assert stretches([*FOUR_MONTHS[:3], *dearer], record, upgrades=(charge(3_333_333, on),)) == [
        (AUGUST, NOVEMBER, PRICE),
        (NOVEMBER, TOMORROW, 15_000_000),
    ]


def test_upgrade_that_fits_two_services_dates_nothing() -> None:
    on = date(2026, 11, 15)
    upgrade = charge(4_166_667, on)
    record = row(name="Web Business", recurring_micros=15_000_000)
    twin: Key = ("service", 2)
    shown = Shown(
        today=TODAY,
        rows={SERVICE: record, twin: record._replace(key=twin)},
        currencies={1: "EUR"},
        billed={SERVICE: FOUR_MONTHS, twin: FOUR_MONTHS},
        upgrades=[upgrade],
        requests={},
        lasting_codes=frozenset(),
    )

    assert {stretch.from_on for stretch in history(shown)} == {AUGUST, NOVEMBER}


def test_refund_ends_also_what_was_paid_ahead() -> None:
    on = date(2026, 9, 5)
    ahead = bill(SEPTEMBER, OCTOBER, status="Refunded", paid_on=date(2026, 9, 1), refunded_on=on)

    assert stretches([FOUR_MONTHS[0], ahead], row(status="Cancelled", next_due_on=OCTOBER)) == [
        (AUGUST, on, PRICE)
    ]


@pytest.mark.parametrize(
    ("asked_on", "to_on"),
    [
        (date(2026, 9, 9), date(2026, 9, 9)),
        (date(2026, 8, 2), AUGUST),
        (date(2026, 7, 1), date(2026, 10, 25)),
    ],
)
def test_ended_addon_ends_with_its_service(asked_on: date, to_on: date) -> None:
    addon: Key = ("addon", 1)
    ended = row(status="Cancelled", next_due_on=OCTOBER)
    shown = Shown(
        today=TODAY,
        rows={SERVICE: ended, addon: ended._replace(key=addon, parent=SERVICE)},
        currencies={1: "EUR"},
        billed={addon: months(date(2026, 7, 10), AUGUST, until=OCTOBER)},
        upgrades=[],
        requests={SERVICE: Request(asked_on, True)},
        lasting_codes=frozenset(),
    )

    assert [s.to_on for s in history(shown) if s.key == addon][-1] == to_on


@pytest.mark.parametrize(("code", "mrr"), [("LOYAL", 8_000_000), ("WELCOME", PRICE)])
def test_only_a_lasting_promotion_lowers_the_price(code: str, mrr: int) -> None:
    promotion = bill(AUGUST, SEPTEMBER, type_="PromoHosting", amount=-2_000_000, text=f"Code: {code}")

    result = stretches(
        [FOUR_MONTHS[0], promotion._replace(invoice=FOUR_MONTHS[0].invoice), *FOUR_MONTHS[1:]], row()
    )

    assert result[0][2] == mrr


def test_part_of_a_month_is_scaled_to_a_month() -> None:
    part = bill(date(2026, 10, 17), date(2026, 11, 1), amount=5_000_000)
    whole = bill(date(2026, 11, 1), date(2026, 12, 1), amount=10_333_333)

    result = stretches([part, whole], row(registered_on=date(2026, 10, 17), recurring_micros=10_333_333))

    assert result == [(date(2026, 10, 17), TOMORROW, 10_333_333)]


def test_item_without_bills_counts_from_its_registration() -> None:
    assert stretches([], row()) == [(AUGUST, TOMORROW, PRICE)]


def test_earliest_bill_reaches_back_to_the_registration() -> None:
    assert stretches(FOUR_MONTHS[2:], row()) == [(AUGUST, TOMORROW, PRICE)]


def test_fraud_never_counted() -> None:
    assert stretches(FOUR_MONTHS, row(status="Fraud")) == []


def test_unpaid_newcomer_who_left_never_counted() -> None:
    unpaid = bill(AUGUST, SEPTEMBER, status="Cancelled")

    assert stretches([unpaid], row(status="Cancelled", next_due_on=AUGUST)) == []


def test_bills_of_a_deleted_row_still_count() -> None:
    assert stretches(FOUR_MONTHS[:2], None) == [(AUGUST, date(2026, 10, 25), PRICE)]


def test_discount_addon_lowers_the_mrr() -> None:
    assert stretches([], row(recurring_micros=-5_000_000)) == [(AUGUST, TOMORROW, -5_000_000)]


def test_price_of_minus_one_is_not_offered() -> None:
    assert stretches([], row(recurring_micros=-1_000_000)) == []


@pytest.mark.parametrize(
    ("from_on", "until", "expected"),
    [
        (date(2026, 1, 31), date(2026, 2, 28), 1),
        (date(2026, 2, 28), date(2026, 3, 31), 1),
        (date(2024, 2, 29), date(2025, 2, 28), 12),
        (date(2025, 2, 28), date(2028, 2, 29), 36),
        (date(2026, 1, 4), date(2026, 2, 1), None),
        (date(2016, 5, 1), date(2026, 5, 1), 120),
    ],
)
def test_whole_months_survive_short_months(from_on: date, until: date, expected: int | None) -> None:
    assert whole_months(from_on, until) == expected

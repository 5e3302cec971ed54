"""History that is easily told wrong. Each case is written out; the product and the ideal reader both have to tell it right."""

import random
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from tests.builders import FIRST_SEEN, customer, customer_detail, fact, invoice, invoice_lines, subscription
from tests.history.from_facts import Body, shown_of
from tests.history.product import end_sync
from tests.ideal_reader.distance import as_spans
from tests.ideal_reader.periods import add_months
from tests.ideal_reader.reader import history
from tests.integration.metrics.conftest import Tables
from tools.whmcs_simulator.history import movements

TODAY = FIRST_SEEN.date()
TOMORROW = date(2026, 3, 2)
PRICE = 10_000_000

Days = tuple[str, str | None, int]
"""The first day, the day after the last (None: still going on) and the MRR."""


def bill(
    number: int,
    from_on: date,
    until: date,
    amount: int = PRICE,
    *,
    paid_on: date | None = None,
    lines: Sequence[dict[str, Any]] = (),
    **values: Any,
) -> list[Body]:
    """Return a paid invoice of service 1 for a period. `lines` come in addition."""
    last = date.fromordinal(until.toordinal() - 1)
    hosting = {
        "id": 10 * number,
        "type": "Hosting",
        "related_id": 1,
        "description": f"{values.pop('text', 'Hosting')} - site1.example ({from_on:%d/%m/%Y} - {last:%d/%m/%Y})",
        "amount_micros": amount,
    }
    others = [{"id": 10 * number + place, "related_id": 1} | line for place, line in enumerate(lines, 1)]
    total = amount + sum(line["amount_micros"] for line in others)
    header = {
        "issued_on": str(from_on),
        "due_on": str(from_on),
        "paid_at": f"{paid_on or from_on}T10:00:00",
        "subtotal_micros": total,
        "total_micros": total,
    }
    customer_id, currency = values.pop("customer_id", 1), values.pop("currency", "EUR")
    return [
        (Kind.INVOICE, invoice(number, customer_id, currency, **(header | values))),
        (Kind.INVOICE_LINES, invoice_lines(number, [hosting, *others])),
    ]


def monthly_bills(first: date, amounts: Sequence[int], late: dict[int, date] | None = None) -> list[Body]:
    """Return the bills of months one after another, paid on their first day unless `late` says when."""
    starts = [add_months(first, number) for number in range(len(amounts) + 1)]
    return [
        body
        for number, ((from_on, until), amount) in enumerate(zip(pairwise(starts), amounts, strict=True), 1)
        for body in bill(number, from_on, until, amount, paid_on=(late or {}).get(number))
    ]


def owner(currency: str = "EUR") -> list[Body]:
    return [(Kind.CUSTOMER, customer(1)), (Kind.CUSTOMER_DETAIL, customer_detail(1, currency))]


def service(**values: Any) -> Body:
    return Kind.SERVICE, subscription(1, 1, **values)


def records(bodies: Sequence[Body], **values: Any) -> list[Record]:
    return [fact(kind, body, seq=seq, **values) for seq, (kind, body) in enumerate(bodies)]


async def shown(tables: Tables) -> list[Days]:
    """Return the days of all subscriptions that the product shows."""
    rows = await tables.ask_as_gateway(
        """SELECT from_on::text, to_on::text, mrr_micros FROM metrics_read.segments
        WHERE lens = 'contract' ORDER BY kind, id, from_on"""
    )
    return [(from_on, to_on, mrr) for from_on, to_on, mrr in rows]


async def tells(tables: Tables, bodies: list[Body], expected: list[Days]) -> list[tuple[str, int]]:
    """Assert that reader and product tell the expected days; return the kinds and amounts of movements."""
    spans = as_spans(history(shown_of(bodies, TODAY)))
    ideal = [
        (str(date.fromordinal(s.from_on)), None if s.to_on > TODAY.toordinal() else str(date.fromordinal(s.to_on)), s.mrr_micros)
        for s in spans
    ]  # fmt: skip
    assert ideal == expected

    await tables.take(records(bodies))
    await end_sync(tables, FIRST_SEEN)

    assert await shown(tables) == expected
    return [(moved.kind, moved.amount_micros) for moved in movements(spans, TODAY.toordinal())]


async def test_same_change_twice_is_told_twice(tables: Tables) -> None:
    low, high = 10_000_000, 12_000_000
    bills = monthly_bills(date(2025, 1, 21), [low] * 3 + [high] * 4 + [low] * 3 + [high] * 4)

    moved = await tells(
        tables,
        [*owner(), service(recurring_micros=high), *bills],
        [
            ("2025-01-21", "2025-04-21", low),
            ("2025-04-21", "2025-08-21", high),
            ("2025-08-21", "2025-11-21", low),
            ("2025-11-21", None, high),
        ],
    )

    change = high - low
    assert moved == [
        ("new_business", low),
        ("expansion", change),
        ("contraction", -change),
        ("expansion", change),
    ]


async def test_two_pauses_are_two_gaps(tables: Tables) -> None:
    late = {4: date(2025, 5, 20), 9: date(2025, 10, 15)}
    bills = monthly_bills(date(2025, 1, 21), [PRICE] * 14, late)

    moved = await tells(
        tables,
        [*owner(), service(), *bills],
        [
            ("2025-01-21", "2025-05-06", PRICE),
            ("2025-05-20", "2025-10-06", PRICE),
            ("2025-10-15", None, PRICE),
        ],
    )

    assert [kind for kind, _ in moved] == ["new_business", "churn", "reactivation", "churn", "reactivation"]


async def test_trial_that_was_never_paid_never_counted(tables: Tables) -> None:
    unpaid = bill(1, date(2025, 6, 21), date(2025, 7, 21), status="cancelled", paid_at=None)
    trial = service(status="cancelled", registered_on="2025-06-21", next_due_on="2025-06-21")

    assert await tells(tables, [*owner(), trial, *unpaid], []) == []


async def test_newcomer_who_leaves_again_is_new_and_churn(tables: Tables) -> None:
    left = service(status="terminated", registered_on="2025-06-21", next_due_on="2025-07-21")

    moved = await tells(
        tables,
        [*owner(), left, *bill(1, date(2025, 6, 21), date(2025, 7, 21))],
        [("2025-06-21", "2025-08-05", PRICE)],
    )

    assert moved == [("new_business", PRICE), ("churn", -PRICE)]


async def test_seat_bought_after_a_year_counts_from_its_day(tables: Tables) -> None:
    bills = monthly_bills(date(2025, 1, 21), [2 * PRICE] * 13 + [3 * PRICE])
    charge = {
        "id": 900,
        "type": "Upgrade",
        "related_id": 7,
        "description": "Upgrade/Downgrade: Hosting => Hosting x 3",
    }
    upgrade: list[Body] = [
        (
            Kind.INVOICE,
            invoice(90, 1, issued_on="2026-02-02", due_on="2026-02-02", paid_at="2026-02-02T09:00:00"),
        ),
        (Kind.INVOICE_LINES, invoice_lines(90, [charge | {"amount_micros": 6_000_000}])),
    ]

    await tells(
        tables,
        [*owner(), service(recurring_micros=3 * PRICE, quantity=3), *bills, *upgrade],
        [("2025-01-21", "2026-02-02", 2 * PRICE), ("2026-02-02", None, 3 * PRICE)],
    )


async def test_upgrade_by_a_former_customer_is_told(tables: Tables) -> None:
    bills = [
        *bill(1, date(2025, 12, 21), date(2026, 1, 21), customer_id=2),
        *bill(2, date(2026, 1, 21), date(2026, 2, 21), customer_id=2),
        *bill(3, date(2026, 2, 21), date(2026, 3, 21), 2 * PRICE, text="Hosting Plus"),
    ]
    charge = {
        "id": 900,
        "type": "Upgrade",
        "related_id": 7,
        "description": "Upgrade/Downgrade: Hosting => Hosting Plus",
    }
    upgrade: list[Body] = [
        (
            Kind.INVOICE,
            invoice(90, 2, issued_on="2026-02-02", due_on="2026-02-02", paid_at="2026-02-02T09:00:00"),
        ),
        # 10.00 more for 19 of 31 days.
        (Kind.INVOICE_LINES, invoice_lines(90, [charge | {"amount_micros": 6_130_000}])),
    ]
    former: list[Body] = [(Kind.CUSTOMER, customer(2)), (Kind.CUSTOMER_DETAIL, customer_detail(2))]
    moved = service(recurring_micros=2 * PRICE, product_name="Hosting Plus", registered_on="2025-12-21")

    await tells(
        tables,
        [*owner(), *former, moved, *bills, *upgrade],
        [
            ("2025-12-21", "2026-02-02", PRICE),
            ("2026-02-02", "2026-02-21", 2 * PRICE),
            ("2026-02-21", None, 2 * PRICE),
        ],
    )


async def test_price_in_yen_is_rounded_once(tables: Tables) -> None:
    year = bill(1, date(2025, 3, 21), date(2026, 3, 21), 15_800_000_000, currency="JPY")
    yearly = service(cycle="annually", recurring_micros=15_800_000_000, registered_on="2025-03-21")

    await tells(tables, [*owner("JPY"), yearly, *year], [("2025-03-21", None, 1_316_666_667)])


async def test_part_of_a_month_is_scaled_to_the_month(tables: Tables) -> None:
    part = bill(1, date(2026, 1, 17), date(2026, 2, 1), 15_000_000)
    whole = bill(2, date(2026, 2, 1), date(2026, 3, 1), 31_000_000)
    again = bill(3, date(2026, 3, 1), date(2026, 4, 1), 31_000_000)
    aligned = service(recurring_micros=31_000_000, registered_on="2026-01-17", next_due_on="2026-04-01")

    await tells(tables, [*owner(), aligned, *part, *whole, *again], [("2026-01-17", None, 31_000_000)])


async def test_early_renewal_is_no_movement(tables: Tables) -> None:
    bills = monthly_bills(date(2025, 12, 21), [PRICE] * 3)
    early = bill(7, date(2026, 3, 21), date(2026, 4, 21), paid_on=date(2026, 1, 5), issued_on="2026-01-05")
    ahead = service(registered_on="2025-12-21", next_due_on="2026-04-21")

    moved = await tells(tables, [*owner(), ahead, *bills, *early], [("2025-12-21", None, PRICE)])

    assert moved == [("new_business", PRICE)]


async def test_introductory_discount_is_no_movement(tables: Tables) -> None:
    welcome = {
        "type": "PromoHosting",
        "description": "Promotional Code: WELCOME",
        "amount_micros": -5_000_000,
    }
    first = bill(20, date(2025, 12, 21), date(2026, 1, 21), lines=[welcome])
    rest = monthly_bills(date(2026, 1, 21), [PRICE] * 2)
    code: Body = Kind.PROMOTION, {
        "id": 1, "code": "WELCOME", "type": "Percentage", "recurring": False, "value": "50", "recurs_for": 0,
    }  # fmt: skip

    record = service(registered_on="2025-12-21", promotion_id=1)

    await tells(tables, [*owner(), code, record, *first, *rest], [("2025-12-21", None, PRICE)])


async def test_anniversaries_on_the_31st_leave_no_gap(tables: Tables) -> None:
    days = [date(2025, 8, 31), date(2025, 9, 30), date(2025, 10, 31), date(2025, 11, 30), date(2025, 12, 31)]
    days += [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31)]
    bills = [
        body
        for number, (from_on, until) in enumerate(pairwise(days), 1)
        for body in bill(number, from_on, until)
    ]

    record = service(registered_on="2025-08-31", next_due_on="2026-03-31")

    await tells(tables, [*owner(), record, *bills], [("2025-08-31", None, PRICE)])


async def test_refund_of_the_last_bill_ends_the_service(tables: Tables) -> None:
    kept = bill(1, date(2025, 6, 21), date(2025, 7, 21))
    refunded = bill(
        2, date(2025, 7, 21), date(2025, 8, 21), status="refunded", refunded_at="2025-08-01T09:00:00"
    )
    ended = service(status="cancelled", registered_on="2025-06-21", next_due_on="2025-08-21")

    await tells(tables, [*owner(), ended, *kept, *refunded], [("2025-06-21", "2025-08-01", PRICE)])


async def test_request_for_the_end_of_the_period_includes_its_day(tables: Tables) -> None:
    bills = monthly_bills(date(2025, 6, 21), [PRICE] * 2)
    ended = service(status="cancelled", registered_on="2025-06-21", next_due_on="2025-08-21")
    request: Body = Kind.CANCELLATION_REQUEST, {
        "id": 1, "service_id": 1, "requested_at": "2025-08-02T10:00:00", "type": "end_of_billing_period", "reason": None,
    }  # fmt: skip

    await tells(tables, [*owner(), ended, *bills, request], [("2025-06-21", "2025-08-22", PRICE)])


async def test_bills_of_a_row_that_is_deleted_still_count(tables: Tables) -> None:
    bills = monthly_bills(date(2025, 6, 21), [PRICE] * 2)

    moved = await tells(tables, [*owner(), *bills], [("2025-06-21", "2025-09-05", PRICE)])

    assert moved == [("new_business", PRICE), ("churn", -PRICE)]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_facts_delivered_twice_and_late_tell_the_same(tables: Tables, seed: int) -> None:
    low, high = 10_000_000, 12_000_000
    bodies = [
        *owner(),
        service(recurring_micros=high),
        *monthly_bills(date(2025, 1, 21), [low] * 7 + [high] * 7),
    ]
    delivered = records(bodies) * 2
    random.Random(seed).shuffle(delivered)

    for record in delivered:
        await tables.take([record])
    await end_sync(tables, FIRST_SEEN)
    for record in delivered[:20]:
        await tables.take([record])
    await tables.compute()

    assert await shown(tables) == [("2025-01-21", "2025-08-21", low), ("2025-08-21", None, high)]

"""Segments of invented companies: several customers, subscriptions, currencies and lenses, with every kind of change between them."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import Cause
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.movements import CustomerHistory, history_of
from services.metrics.formulas.timeline import Segment

FIRST = date(2026, 1, 1)
CUSTOMERS = (1, 2, 3)
CURRENCIES = ("EUR", "USD")
LENSES = (Lens.CONTRACT, Lens.ACTIVE)
DAYS = 70

Company = Mapping[Subscription, tuple[Segment, ...]]


def day(number: int) -> date:
    """Return a day of a life, counted from its first."""
    return FIRST + timedelta(days=number)


def segment(start: int, end: int | None, mrr: int, **values: Any) -> Segment:
    """Return a segment of customer 1 with small numbers for days and micros."""
    defaults: dict[str, Any] = {
        "lens": Lens.CONTRACT,
        "customer_id": 1,
        "currency": "EUR",
        "product": "service:1",
        "product_name": "Hosting",
        "cycle": "monthly",
        "status": "active",
    }
    to_on = None if end is None else day(end)
    return Segment(from_on=day(start), to_on=to_on, mrr_micros=mrr, **(defaults | values))


def history(company: Company, customer_id: int = 1) -> CustomerHistory:
    """Return the history of a customer from the subscriptions that it ever had."""
    return history_of(
        customer_id,
        {
            item: segments
            for item, segments in company.items()
            if any(segment.customer_id == customer_id for segment in segments)
        },
    )


@st.composite
def _lines(draw: st.DrawFn, lens: Lens, *, can_move: bool) -> list[Segment]:
    """Draw the segments of one subscription in one lens. Few values and days, so that much happens on one day."""
    segments = []
    customers, currencies = st.sampled_from((1, 1, 1, 2, 3)), st.sampled_from(("EUR", "EUR", "EUR", "USD"))
    if not can_move:
        customers, currencies = st.just(draw(customers)), st.just(draw(currencies))
    start = draw(st.integers(0, 12))
    for _ in range(draw(st.integers(0, 4))):
        end = draw(st.none() | st.integers(start + 1, start + 12))
        segments.append(
            segment(
                start,
                end,
                draw(st.sampled_from((1, 2, 3, 7, 10, 10, 10, 1_000_003, -4))),
                lens=lens,
                customer_id=draw(customers),
                currency=draw(currencies),
                product=draw(st.sampled_from(("service:1", "service:2"))),
                country=draw(st.sampled_from((None, "DE"))),
                promotion_id=draw(st.sampled_from((None, None, 5))),
                quantity=draw(st.sampled_from((1, 1, 2))),
                cause=draw(st.sampled_from((None, Cause.NON_PAYMENT, Cause.CANCELLATION))),
            )
        )
        if end is None:
            break
        start = end + draw(st.sampled_from((0, 0, 0, 1, 5)))
    return segments


@st.composite
def companies(draw: st.DrawFn, *, can_move: bool = True) -> Company:
    """Draw a company of up to five subscriptions. Unless they `can_move`, each stays with its customer and currency."""
    company = {}
    for number in range(draw(st.integers(1, 5))):
        item = Subscription(draw(st.sampled_from(("service", "domain"))), number)
        company[item] = tuple(segment for lens in LENSES for segment in draw(_lines(lens, can_move=can_move)))
    return company

"""The gap between MRR by contract and paid MRR: each day of a subscription belongs to one part, and the parts add up to the micro."""

from collections import Counter
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings

from libs.common.contracts.billing import Kind
from libs.common.contracts.gaps import GAP_WORDS, GapPart
from libs.common.contracts.lenses import Lens
from services.metrics.formulas.evidence import Dated, Evidence
from services.metrics.formulas.gaps import Gap, gaps_of
from services.metrics.formulas.invoices import PaidPeriod
from services.metrics.formulas.timeline import Segment, timeline
from tests.unit.metrics.test_timeline_laws import EVIDENCE
from tests.unit.metrics.timelines import CUSTOMER, FIRST, OTHER, day, paid, seen

VALUES = (
    *("customer_id", "currency", "product", "cycle", "promotion_id", "product_group"),
    *("customer_group", "country", "payment_method"),
)


def gaps(*periods: PaidPeriod, **values: Any) -> list[tuple[GapPart, date, date, int]]:
    """Return the parts of a service that the first sync of its instance saw, with days and micros in millions."""
    first = seen(0, **({"last_read_on": None, "registered_on": day(-100)} | values))
    evidence = Evidence(
        Kind.SERVICE, [first], currencies={CUSTOMER: [Dated(FIRST, "EUR")]}, paid_periods=periods
    )
    rows = gaps_of(evidence, timeline(evidence).segments)
    return [
        (row.part, row.from_on, row.to_on, (row.contract_micros - row.paid_micros) // 1_000_000)
        for row in rows
    ]


def test_paid_subscription_is_unpaid_from_its_due_date_on() -> None:
    assert gaps(paid(-100, -10), paid(-10, 20)) == [(GapPart.UNPAID_IN_GRACE, day(20), day(35), 10)]


def test_overdue_subscription_is_unpaid_in_grace() -> None:
    assert gaps(paid(-100, -5), next_due_on=day(-5)) == [(GapPart.UNPAID_IN_GRACE, day(-5), day(10), 10)]


def test_cheaper_first_line_is_an_introductory_discount() -> None:
    rows = gaps(paid(-10, 20, mrr_micros=4_000_000), registered_on=day(-10))

    assert rows[0] == (GapPart.INTRODUCTORY_DISCOUNT, day(-10), day(20), 6)


def test_price_that_is_another_than_on_the_last_line_has_changed() -> None:
    rows = gaps(paid(-40, -10, mrr_micros=8_000_000), paid(-10, 20, mrr_micros=8_000_000))

    assert (GapPart.PRICE_CHANGED, day(-10), day(20), 2) in rows


def test_lower_price_is_a_gap_below_0() -> None:
    rows = gaps(paid(-10, 20, mrr_micros=12_000_000), registered_on=day(-10))

    assert rows[0] == (GapPart.PRICE_CHANGED, day(-10), day(20), -2)


def test_line_of_0_is_a_free_term() -> None:
    rows = gaps(paid(-40, -10), paid(-10, 20, mrr_micros=0), registered_on=day(-40))

    assert rows[0] == (GapPart.FREE_TERM, day(0), day(20), 10)


def test_days_paid_without_a_line_have_no_linked_line() -> None:
    rows = gaps(registered_on=day(-10))

    assert rows == [
        (GapPart.NO_LINKED_LINE, day(-10), day(20), 10),
        (GapPart.UNPAID_IN_GRACE, day(20), day(35), 10),
    ]


def test_line_paid_beyond_the_end_has_no_linked_subscription() -> None:
    rows = gaps(paid(-40, -10), paid(-10, 20), status="cancelled", registered_on=day(-40))

    assert rows[-1] == (GapPart.NO_LINKED_LINE, day(0), day(20), -10)


def test_line_of_another_customer_is_linked_to_neither() -> None:
    rows = gaps(paid(-10, 20, customer_id=OTHER), registered_on=day(-10))

    assert {(part, micros) for part, from_on, _, micros in rows if from_on < day(20)} == {
        (GapPart.NO_LINKED_LINE, 10),
        (GapPart.NO_LINKED_LINE, -10),
    }


def test_gaps_are_unknown_while_lines_are_missing() -> None:
    evidence = Evidence(Kind.SERVICE, [seen(0)], currencies={CUSTOMER: [Dated(FIRST, "EUR")]})

    assert gaps_of(evidence, timeline(evidence).segments) == ()


def values_of(row: Gap | Segment) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in VALUES)


def difference_on(segments: tuple[Segment, ...], on: date) -> Counter[tuple[object, ...]]:
    """Return contract less paid of a day, for each set of values by which figures are split."""
    difference: Counter[tuple[object, ...]] = Counter()
    for segment in segments:
        if segment.from_on <= on and (segment.to_on is None or on < segment.to_on):
            sign = {Lens.CONTRACT: 1, Lens.PAID: -1}.get(segment.lens, 0)
            difference[values_of(segment)] += sign * segment.mrr_micros
    return Counter({key: micros for key, micros in difference.items() if micros})


@given(EVIDENCE)
@settings(max_examples=300, deadline=None)
def test_parts_sum_to_contract_less_paid_on_every_day(evidence: Evidence) -> None:
    segments = timeline(evidence).segments
    rows = gaps_of(evidence, segments)
    first = evidence.observations[0].on

    for number in range(-220, 160):
        on = first + timedelta(number)
        explained: Counter[tuple[object, ...]] = Counter()
        live = [row for row in rows if row.from_on <= on < row.to_on]
        for row in live:
            explained[values_of(row)] += row.contract_micros - row.paid_micros
        assert {key: micros for key, micros in explained.items() if micros} == difference_on(segments, on)
        assert len({row.part for row in live}) <= 1


@given(EVIDENCE)
@settings(max_examples=200, deadline=None)
def test_gaps_are_ordered_and_say_each_thing_once(evidence: Evidence) -> None:
    rows = gaps_of(evidence, timeline(evidence).segments)

    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert all(row.from_on < row.to_on for row in rows)
    assert all(
        before.to_on != row.from_on
        or row._replace(number=0, from_on=FIRST, to_on=FIRST)
        != before._replace(number=0, from_on=FIRST, to_on=FIRST)
        for before, row in pairwise(rows)
    )


@pytest.mark.parametrize("part", list(GapPart))
def test_every_part_has_words(part: GapPart) -> None:
    assert GAP_WORDS[part].title
    assert GAP_WORDS[part].meaning.endswith(".")

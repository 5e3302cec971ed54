"""The gap of one subscription between MRR by contract and MRR that invoices paid: each micro of it belongs to one part.

A gap with equal values on both sides is one row, the difference. Where a value such as the product differs, each side has a row under its
own values. So the rows of any filter add up to the difference of both lenses.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import NamedTuple

from libs.common.contracts.gaps import GapPart
from libs.common.contracts.lenses import Lens
from services.metrics.formulas.evidence import Evidence
from services.metrics.formulas.invoices import PaidPeriod
from services.metrics.formulas.spans import first_day_after
from services.metrics.formulas.timeline import Segment


class Gap(NamedTuple):
    """Days [from_on, to_on) on which contract and paid MRR differ by `contract_micros` - `paid_micros`, for one reason.

    `number` counts the rows of a subscription. All other values are those of these days.
    """

    number: int
    part: GapPart
    from_on: date
    to_on: date
    customer_id: int
    currency: str
    contract_micros: int
    paid_micros: int
    product: str
    product_name: str | None
    cycle: str
    promotion_id: int | None
    product_group: str | None
    customer_group: str | None
    country: str | None
    payment_method: str | None


class _Sides(NamedTuple):
    """Days [from_on, to_on) with what both lenses say; None where the subscription does not count."""

    from_on: date
    to_on: date
    contract: Segment | None
    paid: Segment | None


def gaps_of(evidence: Evidence, segments: Sequence[Segment]) -> tuple[Gap, ...]:
    """Return the gaps of a subscription in order of days; none while lines are missing. `segments` are those of all its lenses.

    Source: docs/metrics.md#contract-and-paid.
    """
    if evidence.paid_periods is None:
        return ()
    due_dates = _due_dates(evidence)
    rows: list[Gap] = []
    for sides in _differing(segments):
        for from_on, to_on in pairwise(_days_within(evidence, due_dates, sides)):
            part = _part(evidence, due_dates, sides, from_on)
            for row in _rows(sides._replace(from_on=from_on, to_on=to_on), part):
                _add(rows, row)
    return tuple(row._replace(number=number) for number, row in enumerate(rows, 1))


def _due_dates(evidence: Evidence) -> dict[date, date | None]:
    """Return the due date from each day on which a sync saw one, in order: the last that was seen holds while it is missing."""
    due_dates: dict[date, date | None] = {}
    due_on = None
    last_of_day = {observation.on: observation for observation in evidence.observations}
    for on in sorted(last_of_day):
        due_on = last_of_day[on].next_due_on or due_on
        due_dates[on] = due_on
    return due_dates


def _differing(segments: Sequence[Segment]) -> Iterator[_Sides]:
    """Yield the days on which both lenses differ, in order."""
    contract = [segment for segment in segments if segment.lens is Lens.CONTRACT]
    paid = [segment for segment in segments if segment.lens is Lens.PAID]
    days = {day for segment in (*contract, *paid) for day in (segment.from_on, segment.to_on or date.max)}
    for from_on, to_on in pairwise(sorted(days)):
        sides = _Sides(from_on, to_on, _on(contract, from_on), _on(paid, from_on))
        if _of(sides.contract) != _of(sides.paid):
            yield sides


def _on(segments: Sequence[Segment], on: date) -> Segment | None:
    return next(
        (segment for segment in segments if segment.from_on <= on < (segment.to_on or date.max)), None
    )


def _of(segment: Segment | None) -> tuple[object, ...]:
    """Return everything by which figures are summed, split or filtered; nothing where a subscription does not count."""
    return () if segment is None else (segment.mrr_micros, *_values(segment))


def _values(segment: Segment) -> tuple[object, ...]:
    return (
        segment.customer_id,
        segment.currency,
        segment.product,
        segment.cycle,
        segment.promotion_id,
        segment.product_group,
        segment.customer_group,
        segment.country,
        segment.payment_method,
    )


def _days_within(evidence: Evidence, due_dates: Mapping[date, date | None], sides: _Sides) -> list[date]:
    """Return the first and last day of these, and between them those on which the reason may change, in order."""
    days = {day for period in evidence.paid_periods or () for day in _days_of(evidence, period)}
    days |= {day for pair in due_dates.items() for day in pair if day is not None}
    between = (day for day in days if sides.from_on < day < sides.to_on)
    return [sides.from_on, *sorted(between), sides.to_on]


def _days_of(evidence: Evidence, period: PaidPeriod) -> tuple[date, ...]:
    return (
        period.from_on,
        period.counts_from,
        period.to_on,
        first_day_after(period.to_on, evidence.grace_days),
    )


def _part(evidence: Evidence, due_dates: Mapping[date, date | None], sides: _Sides, on: date) -> GapPart:
    """Return why both lenses differ on a day."""
    contract, paid = sides.contract, sides.paid
    if contract is None:
        return GapPart.NO_LINKED_LINE
    periods = evidence.paid_periods or ()
    covering = next((period for period in periods if period.from_on <= on < period.to_on), None)
    if paid is None:
        if covering is not None and covering.mrr_micros == 0:
            return GapPart.FREE_TERM
        return GapPart.UNPAID_IN_GRACE if _is_due(evidence, due_dates, on) else GapPart.NO_LINKED_LINE
    if (contract.customer_id, contract.currency) != (paid.customer_id, paid.currency):
        return GapPart.NO_LINKED_LINE
    first = next(period for period in periods if period.mrr_micros != 0)
    is_introductory = covering is first and paid.mrr_micros < contract.mrr_micros
    return GapPart.INTRODUCTORY_DISCOUNT if is_introductory else GapPart.PRICE_CHANGED


def _is_due(evidence: Evidence, due_dates: Mapping[date, date | None], on: date) -> bool:
    """Return whether payment was due by a day: as the record says from the first observation on, and the lines before it."""
    periods = evidence.paid_periods or ()
    if any(period.from_on <= on < period.counts_from for period in periods):
        return True
    seen_on = max((day for day in due_dates if day <= on), default=None)
    if seen_on is not None:
        due_on = due_dates[seen_on]
        return due_on is not None and due_on <= on
    return any(period.to_on <= on < first_day_after(period.to_on, evidence.grace_days) for period in periods)


def _rows(sides: _Sides, part: GapPart) -> Iterator[Gap]:
    contract, paid = sides.contract, sides.paid
    if contract is not None and paid is not None and _values(contract) == _values(paid):
        yield _row(sides, part, contract, contract.mrr_micros, paid.mrr_micros)
        return
    if contract is not None:
        yield _row(sides, part, contract, contract.mrr_micros, 0)
    if paid is not None:
        yield _row(sides, part, paid, 0, paid.mrr_micros)


def _row(sides: _Sides, part: GapPart, values: Segment, contract_micros: int, paid_micros: int) -> Gap:
    return Gap(
        0,
        part,
        sides.from_on,
        sides.to_on,
        values.customer_id,
        values.currency,
        contract_micros,
        paid_micros,
        values.product,
        values.product_name,
        values.cycle,
        values.promotion_id,
        values.product_group,
        values.customer_group,
        values.country,
        values.payment_method,
    )


def _add(rows: list[Gap], row: Gap) -> None:
    """Add a row, or make the one before it longer that it continues."""
    for index in range(len(rows) - 1, max(len(rows) - 3, -1), -1):
        if (
            rows[index].to_on == row.from_on
            and rows[index]._replace(from_on=row.from_on, to_on=row.to_on) == row
        ):
            rows[index] = rows[index]._replace(to_on=row.to_on)
            return
    rows.append(row)

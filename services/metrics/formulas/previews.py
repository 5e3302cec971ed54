"""The effect of other definitions: figures of the last month-ends, added up customer by customer from segments."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, NamedTuple

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import MovementKind
from services.metrics.formulas.coverage import Days
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.movements import history_of
from services.metrics.formulas.timeline import Segment

_MONTHS: Final = 12
_DAY: Final = timedelta(days=1)

Lines = Mapping[Subscription, Sequence[Segment]]


class Place(NamedTuple):
    """The end of a month, and a currency."""

    on: date
    currency: str


@dataclass(slots=True)
class Totals:
    """The MRR, the customers with an MRR above 0, and the churned MRR of the month, by its end and by currency."""

    mrr_micros: Counter[Place] = field(default_factory=Counter)
    customers: Counter[Place] = field(default_factory=Counter)
    churn_micros: Counter[Place] = field(default_factory=Counter)


class Effect(NamedTuple):
    """The figures of a month in a currency by the definitions in force and by the others."""

    on: date
    currency: str
    mrr_before_micros: int
    mrr_after_micros: int
    customers_before: int
    customers_after: int
    churn_before_micros: int
    churn_after_micros: int


def month_ends(days: Collection[Days]) -> list[date]:
    """Return the last twelve ends of months on which any kind is known, in order."""
    if not days:
        return []
    first_on, on = min(reach.first_on for reach in days), max(reach.last_on for reach in days) + _DAY
    ends: list[date] = []
    while (on := on.replace(day=1) - _DAY) >= first_on and len(ends) < _MONTHS:
        ends.append(on)
    return ends[::-1]


def add_customer(
    totals: Totals, customer_id: int, lines: Lines, days: Mapping[str, Days], ends: Sequence[date]
) -> None:
    """Add the figures of a customer by the lens contract.

    `lines` has all segments of each subscription that the customer ever had. After the last known day of a kind, figures show that day.
    """
    reach = {key: days[key.kind] for key in lines if key.kind in days}
    contract = {key: [s for s in lines[key] if s.lens == Lens.CONTRACT] for key in reach}
    balances: Counter[Place] = Counter()
    for key, segments in contract.items():
        for segment in segments:
            if segment.customer_id == customer_id:
                for on in ends:
                    if _counts(segment, on, reach[key]):
                        balances[Place(on, segment.currency)] += segment.mrr_micros
    totals.mrr_micros.update(balances)
    totals.customers.update(place for place, micros in balances.items() if micros > 0)
    for movement in history_of(customer_id, contract).movements:
        if movement.movement is MovementKind.CHURN:
            end = _end_of(movement.on, days[movement.kind], ends)
            if end is not None:
                totals.churn_micros[Place(end, movement.currency)] += movement.amount_micros


def _counts(segment: Segment, on: date, reach: Days) -> bool:
    day = min(on, reach.last_on)
    return reach.first_on <= on and segment.from_on <= day and (segment.to_on is None or day < segment.to_on)


def _end_of(on: date, reach: Days, ends: Sequence[date]) -> date | None:
    """Return the end of the month of a day; None when the movement of the day is not known, or the month is not among them."""
    if not reach.first_on < on <= reach.last_on:
        return None
    return next((end for end in ends if end.replace(day=1) <= on <= end), None)


def effects(before: Totals, after: Totals) -> list[Effect]:
    """Return the months of both totals, in order."""
    sides = (before, after)
    places = {place for side in sides for sums in (side.mrr_micros, side.churn_micros) for place in sums}
    return [
        Effect(
            *place,
            *(side.mrr_micros[place] for side in sides),
            *(side.customers[place] for side in sides),
            *(side.churn_micros[place] for side in sides),
        )
        for place in sorted(places)
    ]

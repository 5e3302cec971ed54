"""How MRR moved from the start of a month to its end: the columns of a table, and a waterfall as an SVG in per cent. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from libs.common.figures.answers import Figure
from services.gateway.pages.chart import Scale, scale

START: Final = "start"
END: Final = "end"
# Some millionths, which have no place in a table of whole amounts.
ROUNDING: Final = "rounding"
# In the order in which people read a month; those that never occur are not shown.
WORDS: Final = {
    START: "At the start",
    "new_business": "New",
    "reactivation": "Came back",
    "expansion": "More from customers",
    "contraction": "Less from customers",
    "churn": "Left",
    "moved": "Moved",
    "entering": "Into the filter",
    "leaving": "Out of the filter",
    "fx": "Exchange rates",
    ROUNDING: "Rounding",
    END: "At the end",
}


@dataclass(frozen=True, slots=True)
class Month:
    """The bridge of a month up to the day `on`: exact amounts by movement, with `start` and `end`.

    `adds_up`: the start and all movements sum to the end. `is_open`: the figures can still change.
    """

    starts_on: date
    on: date
    amounts: dict[str, Decimal]
    is_open: bool

    @property
    def adds_up(self) -> bool:
        """Return whether the start and all movements sum to the end."""
        return sum(self.movements.values(), self.amounts[START]) == self.amounts[END]

    @property
    def movements(self) -> dict[str, Decimal]:
        """Return the amounts of the movements, without start and end."""
        return {name: amount for name, amount in self.amounts.items() if name not in (START, END)}


class Bar(NamedTuple):
    """A bar of the waterfall in per cent from left and top. `sign` is that of its amount; `kind` its movement, `start` or `end`."""

    kind: str
    words: str
    amount: Decimal
    left: float
    width: float
    top: float
    height: float
    sign: int


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The bars of a month from its start to its end, and the amount at the bottom of the plot."""

    bars: tuple[Bar, ...]
    floor: Decimal


def months_of(figure: Figure, currency: str, since: date) -> list[Month]:
    """Return the bridge of each known month in a currency, the newest first.

    The series of `figure` are grouped by movement, and its first month begins on the day `since`.
    """
    amounts: dict[date, dict[str, Decimal]] = defaultdict(dict)
    open_days = set()
    for series in figure.series:
        if series.group.get("currency") == currency:
            for point in series.points:
                if not point.complete:
                    open_days.add(point.on)
                if point.value is not None:
                    amounts[point.on][series.group["movement"]] = Decimal(point.value)
    return [
        Month(max(on.replace(day=1), since), on, _in_order(of_day), is_open=on in open_days)
        for on, of_day in sorted(amounts.items(), reverse=True)
        if {START, END} <= of_day.keys()
    ]


def _in_order(amounts: dict[str, Decimal]) -> dict[str, Decimal]:
    return {name: amounts[name] for name in WORDS if name in amounts}


def movements_in(months: Sequence[Month]) -> list[str]:
    """Return the movements that occur in any of the months, in their order."""
    return [name for name in WORDS if name != ROUNDING and any(month.movements.get(name) for month in months)]


def waterfall(month: Month) -> Waterfall:
    """Return the bars of a month: the balance at its start, a step for each movement that occurs, and the balance at its end."""
    steps = {name: amount for name, amount in month.movements.items() if amount and name != ROUNDING}
    levels = list(accumulate(steps.values(), initial=month.amounts[START]))
    axis = scale(min(*levels, month.amounts[END]), max(*levels, month.amounts[END]))
    spans = [(START, axis.floor, month.amounts[START])]
    spans += [(name, *level) for name, level in zip(steps, pairwise(levels), strict=True)]
    spans.append((END, axis.floor, month.amounts[END]))
    bars = [_bar(number, len(spans), *span, axis) for number, span in enumerate(spans)]
    return Waterfall(tuple(bars), axis.floor)


def _bar(number: int, count: int, kind: str, before: Decimal, after: Decimal, axis: Scale) -> Bar:
    amount = after if kind in (START, END) else after - before
    height = axis.top - axis.floor
    return Bar(
        kind=kind,
        words=WORDS[kind],
        amount=amount,
        left=round(100 * number / count + 15 / count, 3),
        width=round(70 / count, 3),
        top=round(float(100 * (axis.top - max(before, after)) / height), 3),
        height=round(float(100 * abs(after - before) / height), 3),
        sign=(amount > 0) - (amount < 0),
    )

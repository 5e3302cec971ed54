"""The line of a figure as an SVG in per cent of its plot, so that it follows its panel without a script."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise
from typing import Final, NamedTuple

from libs.common.figures.answers import Point
from services.gateway.pages.amounts import money

_STEPS: Final = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))
_INTERVALS: Final = 4
_MOST_LABELS: Final = 6
_DAYS_LABELLED_BY_MONTH: Final = 100


class Tick(NamedTuple):
    """A label of an axis; `at` is in per cent from the left or from the top."""

    at: float
    text: str


class Span(NamedTuple):
    """A stretch of the plot in per cent from the left."""

    at: float
    width: float


class Scale(NamedTuple):
    """Where an axis begins and ends, and how far apart its labels are."""

    floor: Decimal
    top: Decimal
    step: Decimal


@dataclass(frozen=True, slots=True)
class Day:
    """A point of the line. `change` is against the point before; the first has none. `is_restated`: it changed after its day was closed."""

    on: date
    x: float
    y: float
    amount: Decimal
    change: Decimal | None
    is_open: bool
    is_carried: bool
    is_restated: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A line to draw. `floor` is where the scale starts, None when it starts at zero."""

    title: str
    currency: str
    days: tuple[Day, ...]
    line: str
    area: str
    carried: tuple[Span, ...]
    restated: tuple[Span, ...]
    columns: tuple[Tick, ...]
    rows: tuple[Tick, ...]
    floor: Decimal | None
    summary: str


class Stretch(NamedTuple):
    """Days [from_on, to_on)."""

    from_on: date
    to_on: date


def draw(
    title: str, points: Sequence[Point], currency: str, restated: Iterable[Stretch] = ()
) -> Chart | None:
    """Return the chart of the points that have a value, None when they are fewer than two.

    `title` names the metric, and `restated` are days that changed after they were closed.
    """
    amounts = [(point, Decimal(point.value)) for point in points if point.value is not None]
    if len(amounts) < 2:
        return None
    axis = scale(min(amount for _, amount in amounts), max(amount for _, amount in amounts))
    days = _days(amounts, axis, tuple(restated))
    line = _steps(days)
    return Chart(
        title=title,
        currency=currency,
        days=days,
        line=line,
        area=f"{line} V100 H0 Z",
        carried=_spans(days, lambda day: day.is_carried),
        restated=_spans(days, lambda day: day.is_restated),
        columns=_columns(days[0].on, days[-1].on),
        rows=_rows(axis),
        floor=axis.floor or None,
        summary=_summary(f"{title} in {currency}", days[0], days[-1], currency),
    )


def scale(lowest: Decimal, highest: Decimal) -> Scale:
    """Return the scale of the axis.

    The floor is zero, or at most 80 % of a lowest value that lies in the upper half, so that small changes can be seen
    and no change looks like a collapse.
    """
    lowest_floor = lowest * Decimal("0.8") if lowest * 2 > highest else min(lowest, Decimal())
    raw = (highest - lowest_floor) / _INTERVALS or Decimal(1)
    unit = Decimal(1).scaleb(raw.adjusted())
    step = next(factor * unit for factor in _STEPS if factor * unit >= raw)
    floor = (lowest_floor / step).to_integral_value(ROUND_FLOOR) * step
    top = (highest / step).to_integral_value(ROUND_CEILING) * step
    return Scale(floor, max(top, floor + step), step)


def _days(
    amounts: Sequence[tuple[Point, Decimal]], axis: Scale, restated: Sequence[Stretch]
) -> tuple[Day, ...]:
    first, last = amounts[0][0].on, amounts[-1][0].on
    before = [None, *(amount for _, amount in amounts[:-1])]
    return tuple(
        Day(
            on=point.on,
            x=_per_cent(Decimal((point.on - first).days), Decimal((last - first).days)),
            y=_per_cent(axis.top - amount, axis.top - axis.floor),
            amount=amount,
            change=None if previous is None else amount - previous,
            is_open=not point.complete,
            is_carried=point.reason == "carried",
            is_restated=any(stretch.from_on <= point.on < stretch.to_on for stretch in restated),
        )
        for (point, amount), previous in zip(amounts, before, strict=True)
    )


def _per_cent(part: Decimal, whole: Decimal) -> float:
    return round(float(100 * part / whole), 3)


def _steps(days: Sequence[Day]) -> str:
    """Return a path in which each value holds from its day to the next."""
    steps = (f"H{day.x:g} V{day.y:g}" for day in days[1:])
    return f"M{days[0].x:g} {days[0].y:g} {' '.join(steps)}"


def _spans(days: Sequence[Day], is_marked: Callable[[Day], bool]) -> tuple[Span, ...]:
    """Return a stretch for each marked day: from the day before to it."""
    return tuple(
        Span(before.x, round(day.x - before.x, 3)) for before, day in pairwise(days) if is_marked(day)
    )


def _rows(axis: Scale) -> tuple[Tick, ...]:
    exponent = axis.step.normalize().as_tuple().exponent
    digits = max(0, -exponent) if isinstance(exponent, int) else 0
    height = axis.top - axis.floor
    values = [axis.floor + index * axis.step for index in range(int(height / axis.step) + 1)]
    return tuple(Tick(_per_cent(axis.top - value, height), f"{value:,.{digits}f}") for value in values)


def _columns(first: date, last: date) -> tuple[Tick, ...]:
    days = (last - first).days
    if days <= _DAYS_LABELLED_BY_MONTH:
        stride = -(-(days + 1) // _MOST_LABELS)
        labelled = [first + timedelta(days=number) for number in range(0, days + 1, stride)]
        form = "%-d %b"
    else:
        months = [on for on in (first + timedelta(days=number) for number in range(days + 1)) if on.day == 1]
        labelled = months[:: -(-len(months) // _MOST_LABELS)]
        form = "%b" if first.year == last.year else "%b %Y"
    return tuple(
        Tick(_per_cent(Decimal((on - first).days), Decimal(days)), f"{on:{form}}") for on in labelled
    )


def _summary(subject: str, first: Day, last: Day, currency: str) -> str:
    year = "" if first.on.year == last.on.year else " %Y"
    begins, ends = f"{first.on:%-d %B{year}}", f"{last.on:%-d %B %Y}"
    start, end = money(first.amount, currency), money(last.amount, currency)
    if first.amount == last.amount:
        return f"{subject} is {end} on {ends}, as on {begins}."
    moved = "rose" if last.amount > first.amount else "fell"
    return f"{subject} {moved} from {start} on {begins} to {end} on {ends}."

"""MRR by type, product or billing cycle: the parts of one currency, largest first."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Final, NamedTuple

from libs.common.figures.answers import Figure, Point, Series
from libs.common.figures.groups import Group
from services.gateway.pages.amounts import are_off_by_rounding
from services.gateway.pages.reasons import reason_text

_ROWS: Final = 8
_ALL_ROWS: Final = 100
_KINDS: Final = {"service": "Services", "addon": "Addons", "domain": "Domains"}
# WHMCS names the cycles of services and counts the years of domains.
_CYCLES: Final = {
    "monthly": "Monthly",
    "quarterly": "Quarterly",
    "semiannually": "Every 6 months",
    "annually": "Yearly",
    "biennially": "Every 2 years",
    "triennially": "Every 3 years",
    "years_1": "Yearly",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a split. `value` is a decimal string, None with `reason`. `share` is of the whole, and `width` of the largest row, in %.

    `keys` are those of its groups in the API, of which `key` is one; billing cycles with the same name share a row.
    """

    key: str
    keys: tuple[str, ...]
    name: str
    value: str | None
    reason: str
    share: float
    width: float


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of an amount by `group`: the largest as `rows`, and `others` after them, which sum to `rest`, the share `rest_share` in %.

    Of the others, `more_rows` are listed; `unlisted` of them are not, and sum to `unlisted_sum`.
    `is_rounded`: what is shown does not add up.
    """

    group: Group
    rows: tuple[Row, ...]
    more_rows: tuple[Row, ...]
    others: int
    rest: str | None
    rest_share: float
    unlisted: int
    unlisted_sum: str | None
    is_rounded: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """A row of a split as a piece of one bar, which begins at `start` and is `row.share` wide, in %."""

    row: Row
    start: float


class _Part(NamedTuple):
    keys: tuple[str, ...]
    name: str
    value: Decimal | None
    reason: str | None


def split(figure: Figure, group: Group, currency: str) -> Split:
    """Return the parts of one currency. Parts with the same key are added up, exactly; only the shown amounts are rounded."""
    parts = _parts(figure, group, currency)
    largest = max((abs(part.value) for part in parts if part.value is not None), default=Decimal())
    whole = sum((part.value for part in parts if part.value is not None), Decimal())
    rows = tuple(_row(part, whole, largest) for part in parts[:_ALL_ROWS])
    rest = _total(parts[_ROWS:])
    shown = [row.value for row in rows[:_ROWS]] + [rest]
    return Split(
        group=group,
        rows=rows[:_ROWS],
        more_rows=rows[_ROWS:],
        others=max(0, len(parts) - _ROWS),
        rest=rest,
        rest_share=_per_cent(Decimal(rest or 0), whole),
        unlisted=max(0, len(parts) - _ALL_ROWS),
        unlisted_sum=_total(parts[_ALL_ROWS:]),
        is_rounded=are_off_by_rounding([value for value in shown if value is not None], currency),
    )


def pieces(split: Split) -> list[Piece]:
    """Return the rows of a split side by side, from the left."""
    starts = accumulate((row.share for row in split.rows), initial=0.0)
    return [Piece(row, start) for row, start in zip(split.rows, starts, strict=False)]


def _parts(figure: Figure, group: Group, currency: str) -> list[_Part]:
    points: dict[str, dict[str, Point]] = defaultdict(dict)
    names: dict[str, str] = {}
    for series in figure.series:
        if series.points and series.group.get("currency", currency) == currency:
            name, key = _name(series, group), series.group[group.value]
            row = name if group is Group.CYCLE else key
            points[row][key] = series.points[-1]
            names[row] = name
    parts = [
        _Part(tuple(of_row), names[row], _sum([*of_row.values()]), next(iter(of_row.values())).reason)
        for row, of_row in points.items()
    ]
    return sorted(parts, key=lambda part: (-abs(part.value or Decimal()), part.name))


def _sum(points: Sequence[Point]) -> Decimal | None:
    values = [Decimal(point.value) for point in points if point.value is not None]
    return sum(values, Decimal()) if values else None


def _row(part: _Part, whole: Decimal, largest: Decimal) -> Row:
    return Row(
        key=part.keys[0],
        keys=part.keys,
        name=part.name,
        value=None if part.value is None else f"{part.value:f}",
        reason=reason_text(part.reason),
        share=_per_cent(part.value or Decimal(), whole),
        width=_per_cent(abs(part.value or Decimal()), largest),
    )


def _per_cent(part: Decimal, whole: Decimal) -> float:
    return round(float(100 * part / whole), 3) if whole else 0.0


def _total(parts: Sequence[_Part]) -> str | None:
    values = [part.value for part in parts if part.value is not None]
    return f"{sum(values):f}" if values else None


def _name(series: Series, group: Group) -> str:
    return series.names.get(group.value) or group_in_words(group, series.group[group.value])


def group_in_words(group: Group, key: str) -> str:
    """Return a value of a group that has no name of its own."""
    if group is Group.CYCLE:
        return cycle_in_words(key)
    text = key.rpartition(":")[2].replace("_", " ")
    return _KINDS.get(key) or text[:1].upper() + text[1:]


def cycle_in_words(key: str) -> str:
    """Return a billing cycle in words. A year of a service and of a domain have the same words."""
    years = key.removeprefix("years_")
    if years != key and key not in _CYCLES:
        return f"Every {years} years"
    return _CYCLES.get(key, key.replace("_", " ").capitalize())

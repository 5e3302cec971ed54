"""Cohorts as a heat map: an HTML table with a value in each cell. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from libs.common.figures.matrix import Average, Averages, Cell, Cohort
from services.gateway.pages.amounts import count, number, ratio, share
from services.gateway.pages.filters import Choice, Filter


class Measure(StrEnum):
    """What the cells of the heat map show."""

    COUNT = "customers"
    GROSS = "gross"
    NET = "net"


_MEASURES: Final[dict[str, str]] = {
    Measure.COUNT: "customers",
    Measure.GROSS: "gross MRR",
    Measure.NET: "net MRR",
}
# The classes heat-0 to heat-10 of the style sheet; more than all is as strong as all.
_STRONGEST: Final = 10


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A cell: its exact share with its text, and the strength of its colour; None where there is no share. `title` has the amount."""

    months_after: int
    value: str | None
    text: str
    heat: int
    title: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A cohort. `start` is what it had at the end of its month, `since` says so where its customers may be older."""

    month: date
    is_earlier: bool
    size: int
    left_at_once: int
    mrr: str
    text: str
    cells: tuple[HeatCell, ...]


class AverageCell(NamedTuple):
    """The average of a month: exact, as text, and over how many cohorts."""

    value: str | None
    text: str
    cohorts: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The cohorts of a currency, the newest first, and their averages by month."""

    rows: tuple[HeatRow, ...]
    averages: tuple[AverageCell, ...]


def measure_filter(chosen: Measure) -> Filter:
    """Return the filter that chooses what the cells show."""
    return Filter(
        "show", "Show", tuple(Choice(value, words, value == chosen) for value, words in _MEASURES.items())
    )


def heat_map(
    cohorts: Iterable[Cohort], averages: Iterable[Averages], currency: str, measure: Measure
) -> HeatMap:
    """Return the heat map of a currency."""
    rows = [_row(cohort, currency, measure) for cohort in cohorts if cohort.group["currency"] == currency]
    cells: Sequence[Average] = next((row.cells for row in averages if row.group["currency"] == currency), ())
    return HeatMap(tuple(reversed(rows)), tuple(_average(cell, measure) for cell in cells))


def _row(cohort: Cohort, currency: str, measure: Measure) -> HeatRow:
    return HeatRow(
        month=cohort.month,
        is_earlier=cohort.is_earlier,
        size=cohort.size,
        left_at_once=cohort.joined - cohort.size,
        mrr=cohort.mrr,
        text=number(cohort.mrr, currency),
        cells=tuple(_cell(cell, currency, measure) for cell in cohort.cells),
    )


def _cell(cell: Cell, currency: str, measure: Measure) -> HeatCell:
    shares = {
        Measure.COUNT: cell.customers_retained,
        Measure.GROSS: cell.gross_mrr_retained,
        Measure.NET: cell.net_mrr_retained,
    }
    amounts = {
        Measure.COUNT: f"{count(cell.customers)} customer{'' if cell.customers == 1 else 's'}",
        Measure.GROSS: f"{number(cell.gross_mrr, currency)} {currency}",
        Measure.NET: f"{number(cell.net_mrr, currency)} {currency}",
    }
    value = shares[measure]
    return HeatCell(
        cell.months_after,
        value,
        _text(value),
        0 if value is None else min(round(Decimal(value) * _STRONGEST), _STRONGEST),
        f"{amounts[measure]} on {cell.on:%-d %B %Y}{'' if value is None else f', {ratio(value)}'}",
        is_open=not cell.complete,
    )


def _average(cell: Average, measure: Measure) -> AverageCell:
    shares = {
        Measure.COUNT: cell.customers_retained,
        Measure.GROSS: cell.gross_mrr_retained,
        Measure.NET: cell.net_mrr_retained,
    }
    return AverageCell(shares[measure], _text(shares[measure]), cell.cohorts)


def _text(value: str | None) -> str:
    return "none" if value is None else share(float(Decimal(value) * 100))

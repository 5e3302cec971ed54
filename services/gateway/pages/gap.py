"""The table that leads from MRR by contract to paid MRR: the five parts of their gap, in one currency. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from libs.common.contracts.gaps import GAP_WORDS, GapPart
from libs.common.figures.answers import Figure


class PartRow(NamedTuple):
    """A part of the gap: what lies between both, and how much of it is this."""

    part: GapPart
    title: str
    meaning: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class GapTable:
    """MRR by contract, the parts of the gap, and paid MRR at the end of a day. `contract` less all parts is `paid`."""

    on: date
    contract: Decimal
    parts: tuple[PartRow, ...]
    paid: Decimal


def gap_table(paid_mrr: Figure, mrr_gap: Figure, currency: str, on: date) -> GapTable | None:
    """Return the table of a day in a currency; None while it is not known what is paid."""
    paid = _amounts(paid_mrr, currency)
    parts = _amounts(mrr_gap, currency)
    if not paid and not parts:
        return None
    rows = tuple(PartRow(part, *GAP_WORDS[part], parts.get(part.value, Decimal())) for part in GapPart)
    paid_amount = paid.get("", Decimal())
    return GapTable(on, paid_amount + sum(row.amount for row in rows), rows, paid_amount)


def _amounts(figure: Figure, currency: str) -> Mapping[str, Decimal]:
    """Return the last value of each series in a currency, by the part that it shows."""
    return {
        series.group.get("part", ""): Decimal(point.value)
        for series in figure.series
        if series.group.get("currency") == currency
        for point in series.points[-1:]
        if point.value is not None
    }

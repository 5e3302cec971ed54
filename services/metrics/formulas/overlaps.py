"""Periods of one subscription without overlaps: on each day the line that WHMCS wrote last counts."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from services.metrics.formulas.dating import Dated


def merged(lines: Sequence[Dated]) -> list[Dated]:
    """Return the lines with those of one invoice for the same days added up."""
    sums: dict[tuple[object, ...], Dated] = {}
    for line in lines:
        key = (line.paid.invoice.id, line.from_on, line.to_on)
        first = sums.get(key)
        if first is None:
            sums[key] = line
        else:
            sums[key] = first._replace(paid=first.paid._replace(net=first.paid.net + line.paid.net))
    return list(sums.values())


def without_overlaps(lines: Iterable[Dated]) -> list[Dated]:
    """Return the lines in order of days, cut where they overlap.

    A later line replaces what an earlier one says about its days, and the rest of an earlier period that began before it: a new cycle
    or an upgrade goes on from there. A line that was refunded replaces none that was not.
    """
    by_day = sorted(lines, key=lambda line: (line.from_on, line.paid.order))
    if all(line.to_on <= following.from_on for line, following in pairwise(by_day)):
        return by_day
    kept: list[Dated] = []
    for line in sorted(by_day, key=lambda line: (line.paid.settlement.refunded_on is None, line.paid.order)):
        kept = [rest for other in kept if (rest := _rest(other, line)) is not None]
        kept.append(line)
    return sorted(kept, key=lambda line: line.from_on)


def _rest(line: Dated, later: Dated) -> Dated | None:
    """Return what a later line leaves of a line; None when it leaves nothing."""
    if line.to_on <= later.from_on or later.to_on <= line.from_on:
        return line
    if line.from_on < later.from_on:
        return line._replace(to_on=later.from_on)
    return line._replace(from_on=later.to_on) if later.to_on < line.to_on else None

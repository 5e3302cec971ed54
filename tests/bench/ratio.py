"""Compare two ways to do the same work. A ratio means the same on every machine, a time does not."""

import gc
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

ROUNDS = 5

# Does the work once, and returns rows per second.
Work = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Rates:
    """Medians over all rounds. `ratio` is the median of ours / theirs in each round."""

    ours: float
    theirs: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table. `value` must reach `floor`; with `lower_is_better` it must not exceed it."""

    id: str
    text: str
    value: float
    floor: float
    target: float | None
    ours: str
    theirs: str
    lower_is_better: bool = False

    @property
    def holds(self) -> bool:
        """Return whether the value keeps to the floor."""
        return self.value <= self.floor if self.lower_is_better else self.value >= self.floor


async def compare(ours: Work, *others: Work, rounds: int = ROUNDS) -> Rates:
    """Measure ours and the others in turns. Each round compares ours with the slowest of the others."""
    mine, theirs = [], []
    for _ in range(rounds):
        theirs.append(min([await _measure(other) for other in others]))
        mine.append(await _measure(ours))
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return Rates(statistics.median(mine), statistics.median(theirs), statistics.median(ratios))


async def _measure(work: Work) -> float:
    gc.collect()
    return await work()


def line(id_: str, text: str, rates: Rates, floor: float, target: float) -> Line:
    """Return the line that compares two rates."""
    return Line(id_, text, rates.ratio, floor, target, f"{rates.ours:,.0f}/s", f"{rates.theirs:,.0f}/s")


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a table for people, with a mark at each missed floor."""
    rows = [("id", "measured", "ours", "compared with", "value", "floor", "target", "")]
    for line in lines:
        sign = "<=" if line.lower_is_better else ">="
        target = "" if line.target is None else f"{sign} {line.target:g}"
        mark = "" if line.holds else "MISSED"
        value, floor = f"{line.value:.2f}", f"{sign} {line.floor:g}"
        rows.append((line.id, line.text, line.ours, line.theirs, value, floor, target, mark))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )

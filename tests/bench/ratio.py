"""Two ways to do the same work, measured in turns: a ratio says more than a time on somebody's machine."""

import gc
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

ROUNDS = 5

# One go; returns rows per second.
Go = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Rates:
    """Medians over the rounds; `ratio` is the median of each round's ours / theirs."""

    ours: float
    theirs: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. The floor is kept at or above it, or at or below it when `lower_is_better`."""

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
        """Whether the floor is kept."""
        return self.value <= self.floor if self.lower_is_better else self.value >= self.floor


async def compare(ours: Go, *others: Go, rounds: int = ROUNDS) -> Rates:
    """Ours and others in turns; in each round ours is compared with the slowest of the others."""
    mine, theirs = [], []
    for _ in range(rounds):
        theirs.append(min([await _go(other) for other in others]))
        mine.append(await _go(ours))
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return Rates(statistics.median(mine), statistics.median(theirs), statistics.median(ratios))


async def _go(work: Go) -> float:
    gc.collect()
    return await work()


def line(id_: str, text: str, rates: Rates, floor: float, target: float) -> Line:
    """The line of two rates."""
    return Line(id_, text, rates.ratio, floor, target, f"{rates.ours:,.0f}/s", f"{rates.theirs:,.0f}/s")


def table(lines: Sequence[Line]) -> str:
    """The lines for people, a missed floor marked."""
    rows = [("id", "what", "ours", "beside", "value", "floor", "target", "")]
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

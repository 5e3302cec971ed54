"""Questions about figures."""

from dataclasses import dataclass
from datetime import date

from libs.common.figures.catalogue import Group, Metric
from libs.common.figures.periods import Interval


@dataclass(frozen=True, slots=True)
class Question:
    """One metric over the days [start, end], split by groups."""

    metric: Metric
    start: date
    end: date
    interval: Interval = Interval.DAY
    group_by: tuple[Group, ...] = ()

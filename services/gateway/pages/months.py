"""Figures month by month as a table: what to ask, and the rows of one currency, the newest month first. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from libs.common.figures.answers import Figure, Point
from libs.common.figures.groups import Group
from libs.common.figures.metric import Metric
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from services.gateway.pages.reading import Days
from services.gateway.pages.tiles import Tile, tile_of


@dataclass(frozen=True, slots=True)
class Month:
    """A month up to the day `on`, and its figures. `is_open`: they can still change, or the month is not over."""

    starts_on: date
    on: date
    is_open: bool
    cells: tuple[Tile, ...]


def questions_by_month(metrics: Iterable[Metric], days: Days) -> dict[str, Question]:
    """Return a question for each metric, by its slug: all months, each in every currency."""
    return {
        metric.slug: Question(metric, days.months_from, days.last_on, Interval.MONTH, (Group.CURRENCY,))
        for metric in metrics
    }


def months(figures: Sequence[Figure], currency: str, since: date) -> list[Month]:
    """Return the months that any of the figures has a point for in this currency. The first one begins on the day `since`."""
    by_day: list[Mapping[date, Point]] = [
        {
            point.on: point
            for series in figure.series
            if series.group.get("currency") == currency
            for point in series.points
        }
        for figure in figures
    ]
    days = sorted({on for points in by_day for on in points}, reverse=True)
    return [
        _month(max(on.replace(day=1), since), on, figures, [points.get(on) for points in by_day], currency)
        for on in days
    ]


def _month(
    starts_on: date, on: date, figures: Sequence[Figure], points: Sequence[Point | None], currency: str
) -> Month:
    return Month(
        starts_on=starts_on,
        on=on,
        is_open=not all(point.complete for point in points if point is not None),
        cells=tuple(tile_of(figure, point, currency) for figure, point in zip(figures, points, strict=True)),
    )

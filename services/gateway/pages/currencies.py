"""What the overview asks about figures, and the answers as it shows them, separately for each currency. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import BY_SLUG, METRICS
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from libs.common.figures.relations import Group
from services.gateway.pages.chart import Chart, draw
from services.gateway.pages.splits import Split, split
from services.gateway.pages.tiles import Tile, newest_point, tiles

_CHART_POINTS: Final = 400
_SPLITS: Final = {"By type": Group.KIND, "By product": Group.PRODUCT, "By billing cycle": Group.CYCLE}


@dataclass(frozen=True, slots=True)
class Currency:
    """The figures of one currency on the newest day, and its MRR by day. `splits` are by title."""

    code: str
    tiles: list[Tile]
    splits: dict[str, Split]
    chart: Chart | None


def questions(first_on: date, last_on: date) -> dict[str, Question]:
    """Return the questions of the overview about these days, by name: the MRR line, all customers, each split and each metric."""
    mrr, newest = BY_SLUG["mrr"], (last_on, last_on, Interval.DAY)
    return {
        "history": Question(
            mrr, first_on, last_on, _interval_of((last_on - first_on).days + 1), (Group.CURRENCY,)
        ),
        "all customers": Question(BY_SLUG["customers"], *newest),
        **{title: Question(mrr, *newest, (group, Group.CURRENCY)) for title, group in _SPLITS.items()},
        **{metric.slug: Question(metric, *newest, (Group.CURRENCY,)) for metric in METRICS},
    }


def codes(answers: Mapping[str, Figure]) -> list[str]:
    """Return the currencies of the answers in alphabetical order; none without answers."""
    return sorted(series.group["currency"] for series in answers["history"].series) if answers else []


def currencies(answers: Mapping[str, Figure], chosen: str | None) -> list[Currency]:
    """Return the figures of the chosen currency; of all currencies when none is chosen."""
    return [_currency(answers, code) for code in codes(answers) if chosen in (None, code)]


def customers(answers: Mapping[str, Figure]) -> int | None:
    """Return how many customers there are in all currencies: one with two currencies counts once."""
    point = newest_point(answers["all customers"], None) if answers else None
    return point.value if point and isinstance(point.value, int) else None


def interval(answers: Mapping[str, Figure]) -> Interval:
    """Return how far apart the points of the MRR line are."""
    return answers["history"].interval if answers else Interval.DAY


def _interval_of(days: int) -> Interval:
    if days <= _CHART_POINTS:
        return Interval.DAY
    return Interval.WEEK if days <= 7 * _CHART_POINTS else Interval.MONTH


def _currency(answers: Mapping[str, Figure], code: str) -> Currency:
    [points] = [series.points for series in answers["history"].series if series.group["currency"] == code]
    return Currency(
        code=code,
        tiles=tiles([answers[metric.slug] for metric in METRICS], code),
        splits={title: split(answers[title], group, code) for title, group in _SPLITS.items()},
        chart=draw(BY_SLUG["mrr"].title, points, code),
    )

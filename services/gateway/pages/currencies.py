"""What the overview asks about figures, and the answers as it shows them, one currency at a time. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.groups import Group
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from services.gateway.pages.amounts import count
from services.gateway.pages.chart import Chart, draw
from services.gateway.pages.currency_links import currency_links
from services.gateway.pages.filters import Filters
from services.gateway.pages.reading import Days
from services.gateway.pages.splits import Piece, Split, pieces, split
from services.gateway.pages.tiles import Tile, newest_point, tiles

_CHART_POINTS: Final = 400
_KINDS: Final = "By type"
_SPLITS: Final = {"By product": Group.PRODUCT, "By billing cycle": Group.CYCLE}
# The median is beside the average where both are explained.
TILES: Final = tuple(BY_SLUG[slug] for slug in ("mrr", "arr", "customers", "subscriptions", "arpa"))
# What the overview says about subscriptions that may end soon.
ENDS: Final = ("mrr_at_risk", "scheduled_churn")
_IN_THE_TABLE: Final = ("mrr", "customers", "subscriptions")


class Choice(NamedTuple):
    """A currency to choose, as in CurrencyLink, and its newest figures."""

    code: str
    words: str
    href: str
    customers: int | None
    is_chosen: bool
    tiles: list[Tile]


@dataclass(frozen=True, slots=True)
class Change:
    """How MRR has changed since the end of an earlier day, in the currency and in % of what it was, None of nothing."""

    since: date
    amount: Decimal
    per_cent: Decimal | None


@dataclass(frozen=True, slots=True)
class Currency:
    """The figures of one currency on the newest day, and its MRR by day. `splits` are by title.

    `change` is None on the first day on which everything is known.
    """

    code: str
    mrr: Tile
    tiles: list[Tile]
    change: Change | None
    kinds: list[Piece]
    splits: dict[str, Split]
    chart: Chart | None


def questions(days: Days) -> dict[str, Question]:
    """Return the questions of the overview about these days, by name: MRR by day and a month ago, each split and each metric."""
    mrr, newest = BY_SLUG["mrr"], (days.last_on, days.last_on, Interval.DAY)
    line = interval_of((days.last_on - days.first_on).days + 1)
    since = max(_month_before(days.last_on), days.all_known_from)
    by_currency = (Group.CURRENCY,)
    return {
        "history": Question(mrr, days.first_on, days.last_on, line, by_currency),
        "bridge": Question(
            BY_SLUG["mrr_bridge"],
            max(days.last_on.replace(day=1), days.months_from),
            days.last_on,
            Interval.MONTH,
            by_currency,
        ),
        "all customers": Question(BY_SLUG["customers"], *newest),
        **(
            {"before": Question(mrr, since, since, Interval.DAY, by_currency)} if since < days.last_on else {}
        ),
        **{
            title: Question(mrr, *newest, (group, Group.CURRENCY))
            for title, group in {_KINDS: Group.KIND, **_SPLITS}.items()
        },
        **{metric.slug: Question(metric, *newest, by_currency) for metric in TILES},
        **{slug: Question(BY_SLUG[slug], *newest, by_currency) for slug in ENDS},
    }


def choices(
    answers: Mapping[str, Figure],
    filters: Filters,
    customers: Mapping[str, int | None],
    reporting: str | None = None,
) -> list[Choice]:
    """Return the currencies, those of most customers first. The first is chosen unless the filters name another.

    `customers` has the number of customers of each currency. With `reporting`, all amounts in that currency can be chosen, too.
    """
    # A currency that nobody pays in any more still has a line.
    codes = _codes(answers) if filters.target is None else list(customers)
    figures = [answers[slug] for slug in _IN_THE_TABLE] if answers else []
    links = currency_links({code: customers.get(code) for code in codes}, filters, reporting)
    return [Choice(*link, tiles(figures, link.code, {})) for link in links]


def currency(answers: Mapping[str, Figure], chosen: Choice) -> Currency:
    """Return the figures of a currency."""
    code = chosen.code
    [points] = [series.points for series in answers["history"].series if series.group["currency"] == code]
    mrr, *others = tiles([answers[metric.slug] for metric in TILES], code, _details(answers, chosen))
    return Currency(
        code=code,
        mrr=mrr,
        tiles=others,
        change=_change(answers, code),
        kinds=pieces(split(answers[_KINDS], Group.KIND, code)),
        splits={title: split(answers[title], group, code) for title, group in _SPLITS.items()},
        chart=draw(BY_SLUG["mrr"].title, points, code),
    )


def interval(answers: Mapping[str, Figure]) -> Interval:
    """Return how far apart the points of the MRR line are."""
    return answers["history"].interval if answers else Interval.DAY


def interval_of(days: int) -> Interval:
    """Return how far apart the points of a line over so many days are."""
    if days <= _CHART_POINTS:
        return Interval.DAY
    return Interval.WEEK if days <= 7 * _CHART_POINTS else Interval.MONTH


def _month_before(day: date) -> date:
    """Return the same day of the month before, or its last day."""
    last = day.replace(day=1) - timedelta(days=1)
    return last.replace(day=min(day.day, last.day))


def _codes(answers: Mapping[str, Figure]) -> list[str]:
    return [series.group["currency"] for series in answers["history"].series] if answers else []


def _count(figure: Figure, code: str | None) -> int | None:
    point = newest_point(figure, code)
    return point.value if point and isinstance(point.value, int) else None


def _details(answers: Mapping[str, Figure], chosen: Choice) -> dict[str, str]:
    """Return a short text for those tiles that have one, by metric."""
    details = {"arr": "MRR in 12 months", "arpa": "MRR ÷ customers"}
    everybody = _count(answers["all customers"], None)
    subscriptions = _count(answers["subscriptions"], chosen.code)
    if everybody is not None and everybody != chosen.customers:
        details["customers"] = f"{count(everybody)} in all currencies"
    if chosen.customers and subscriptions is not None:
        details["subscriptions"] = f"{Decimal(subscriptions) / chosen.customers:.1f} per customer"
    return details


def _change(answers: Mapping[str, Figure], code: str) -> Change | None:
    """Return the change of MRR. A currency without a figure on the earlier day had no MRR then, because all of that day is known."""
    now = newest_point(answers["mrr"], code)
    if "before" not in answers or now is None or now.value is None:
        return None
    compared = newest_point(answers["before"], None)
    if compared is None:
        return None
    before = newest_point(answers["before"], code)
    then = Decimal() if before is None or before.value is None else Decimal(before.value)
    amount = Decimal(now.value) - then
    return Change(compared.on, amount, 100 * amount / then if then > 0 else None)

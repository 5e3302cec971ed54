"""The newest value of each metric in one currency, as a tile shows it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from libs.common.figures.answers import Figure, Point
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.operands import Unit
from services.gateway.pages.amounts import count, number, ratio
from services.gateway.pages.reasons import reason_text


@dataclass(frozen=True, slots=True)
class Tile:
    """A metric on one day. `value` is exact, `text` is for reading; without a value, `reason` says why.

    `unit` is the currency of money, None for a count and a ratio. `detail` says more about the value, or nothing.
    """

    slug: str
    title: str
    value: str | int | None
    text: str
    unit: str | None
    reason: str
    detail: str = ""


def tiles(figures: Iterable[Figure], currency: str, details: Mapping[str, str]) -> list[Tile]:
    """Return a tile for each figure, which is grouped by currency. `details` are by metric."""
    return [
        tile_of(figure, newest_point(figure, currency), currency, details.get(figure.metric, ""))
        for figure in figures
    ]


def newest_point(figure: Figure, currency: str | None) -> Point | None:
    """Return the last point in a currency, None when the figure has none. Without a currency: the last point of all."""
    return next(
        (
            series.points[-1]
            for series in figure.series
            if series.points and (currency is None or series.group.get("currency") == currency)
        ),
        None,
    )


def tile_of(figure: Figure, point: Point | None, currency: str, detail: str = "") -> Tile:
    """Return the tile of a point; without a point, or one without a value, the tile says why."""
    title = BY_SLUG[figure.metric].title
    unit = currency if figure.unit == "money" else None
    if point is None or point.value is None:
        reason = reason_text(point.reason if point else "no_subscription")
        return Tile(figure.metric, title, None, "", unit, reason)
    return Tile(
        figure.metric, title, point.value, value_text(figure.unit, point.value, currency), unit, "", detail
    )


def value_text(unit: Unit, value: str | int, currency: str) -> str:
    """Return a value of the API as people read it, money without the code of its currency."""
    match unit:
        case Unit.MONEY:
            return number(str(value), currency)
        case Unit.RATIO:
            return ratio(str(value))
        case Unit.COUNT:
            return count(int(value))

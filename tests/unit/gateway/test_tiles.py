"""Tiles: the newest value of each metric, or why there is none."""

from datetime import date

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import Figure, Point, Series
from libs.common.figures.periods import Interval
from services.gateway.pages.tiles import Tile, newest_point, tiles

DAY_BEFORE, TODAY = date(2026, 11, 28), date(2026, 11, 29)


def money(*values: str | None, reason: str | None = None) -> Figure:
    points = tuple(
        Point(on, value, reason, complete=True)
        for on, value in zip((DAY_BEFORE, TODAY), values, strict=False)
    )
    series = (Series({"currency": "EUR"}, {}, points),)
    return Figure("mrr", "money", Interval.DAY, "native", Lens.CONTRACT, None, True, series, ())


def test_tile_shows_the_newest_value() -> None:
    [tile] = tiles([money("1.000000", "1234.560000")], "EUR", {})

    assert tile == Tile("mrr", "MRR", "1234.560000", "1,234.56", "EUR", "")


def test_count_has_no_currency() -> None:
    series = (Series({"currency": "EUR"}, {}, (Point(TODAY, 1234, None, complete=True),)),)
    customers = Figure("customers", "count", Interval.DAY, "native", Lens.CONTRACT, None, False, series, ())

    [tile] = tiles([customers], "EUR", {})

    assert (tile.value, tile.text, tile.unit) == (1234, "1,234", None)


def test_ratio_is_shown_in_per_cent() -> None:
    series = (Series({"currency": "EUR"}, {}, (Point(TODAY, "0.025000", None, complete=True),)),)
    rate = Figure(
        "customer_churn_rate", "ratio", Interval.MONTH, "native", Lens.CONTRACT, None, False, series, ()
    )

    [tile] = tiles([rate], "EUR", {})

    assert (tile.value, tile.unit) == ("0.025000", None)
    assert tile.text == "2.5\N{NO-BREAK SPACE}%"


def test_tile_without_value_says_why() -> None:
    [unread] = tiles([money(None, reason="before_first_sync")], "EUR", {})
    [foreign] = tiles([money("1.000000")], "JPY", {})

    assert (unread.value, unread.reason) == (None, "Not known before the first sync.")
    assert (foreign.value, foreign.reason) == (None, "No live subscription on this day.")


def test_newest_point_of_an_empty_answer_is_none() -> None:
    assert newest_point(money(), None) is None

"""Tests of what the overview asks about figures, and of what it shows in one currency."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import Figure, Point, Series
from libs.common.figures.groups import Group
from libs.common.figures.periods import Interval
from services.gateway.pages.currencies import TILES, Change, Choice, choices, currency, interval, questions
from services.gateway.pages.currency_links import customers_by_currency
from services.gateway.pages.filters import Filters, filters_of
from services.gateway.pages.reading import Days

FIRST, TODAY = date(2020, 1, 1), date(2026, 3, 31)


def asked_on(today: date, all_known_from: date = FIRST) -> date | None:
    """Return the day with which the overview of a day compares."""
    before = questions(Days(FIRST, today, FIRST, all_known_from)).get("before")
    return before and before.start


def figure(metric: str, values: dict[str, str | int], on: date = TODAY) -> Figure:
    """Return an answer with one value in each currency."""
    series = tuple(
        Series({"currency": code}, {}, (Point(on, value, None, complete=True),))
        for code, value in values.items()
    )
    unit = "money" if any(isinstance(value, str) for value in values.values()) else "count"
    return Figure(metric, unit, Interval.DAY, "native", Lens.CONTRACT, None, True, series, ())


def answers(mrr: dict[str, str | int], customers: dict[str, str | int], **more: Figure) -> dict[str, Figure]:
    """Return answers to all questions. The metrics that are not given are those of MRR."""
    splits = {title: figure("mrr", {}) for title in ("By type", "By product", "By billing cycle")}
    metrics = {metric.slug: figure(metric.slug, mrr) for metric in TILES}
    return {
        **splits,
        **metrics,
        "history": figure("mrr", mrr),
        "customers": figure("customers", customers),
        "subscriptions": figure("subscriptions", customers),
        "all customers": Figure(
            "customers",
            "count",
            Interval.DAY,
            "native",
            Lens.CONTRACT,
            None,
            False,
            (Series({}, {}, (Point(TODAY, 7, None, complete=True),)),),
            (),
        ),
        **more,
    }


def chosen(given: dict[str, Figure], filters: Filters | None = None) -> Choice:
    """Return the chosen currency of the answers."""
    offered = choices(given, filters or Filters(), paying(given))
    [choice] = [choice for choice in offered if choice.is_chosen]
    return choice


def paying(given: dict[str, Figure]) -> dict[str, int | None]:
    """Return how many customers pay in each currency."""
    return customers_by_currency(given["customers"]) if given else {}


@pytest.mark.parametrize(
    ("days", "points_apart"),
    [
        (1, Interval.DAY),
        (400, Interval.DAY),
        (401, Interval.WEEK),
        (2_800, Interval.WEEK),
        (2_801, Interval.MONTH),
    ],
)
def test_long_line_has_weeks_then_months(days: int, points_apart: Interval) -> None:
    asked = questions(Days(FIRST, FIRST + timedelta(days=days - 1), FIRST, FIRST))

    assert asked["history"].interval is points_apart


def test_each_metric_is_asked_by_currency() -> None:
    asked = questions(Days(FIRST, FIRST, FIRST, FIRST))

    assert all(asked[metric.slug].group_by == (Group.CURRENCY,) for metric in TILES)


def test_overview_compares_with_a_month_before() -> None:
    assert asked_on(date(2026, 3, 15)) == date(2026, 2, 15)
    assert asked_on(date(2026, 3, 31)) == date(2026, 2, 28)
    assert asked_on(date(2026, 1, 31)) == date(2025, 12, 31)


def test_overview_compares_no_day_that_lacks_a_source() -> None:
    assert asked_on(TODAY, all_known_from=TODAY - timedelta(days=3)) == TODAY - timedelta(days=3)
    assert asked_on(TODAY, all_known_from=TODAY) is None


def test_overview_without_answers_shows_no_currency() -> None:
    assert (choices({}, Filters(), {}), interval({})) == ([], Interval.DAY)


def test_currency_of_most_customers_is_first() -> None:
    given = answers({"EUR": "1.0", "GBP": "2.0", "JPY": "3.0"}, {"EUR": 1, "GBP": 5, "JPY": 5})

    assert [choice.code for choice in choices(given, Filters(), paying(given))] == ["GBP", "JPY", "EUR"]
    assert chosen(given).code == "GBP"
    assert chosen(given, Filters(currency="EUR")).code == "EUR"


def test_choice_of_a_currency_keeps_the_other_filters() -> None:
    given = answers({"EUR": "1.0"}, {"EUR": 1})

    assert chosen(given).href == "?currency=EUR"
    assert chosen(given, Filters(counting=Lens.ACTIVE)).href == "?currency=EUR&lens=active"


@pytest.mark.parametrize(
    ("before", "change", "per_cent"),
    [
        ({"EUR": "80.000000"}, "20.000000", 25),
        ({"EUR": "125.000000"}, "-25.000000", -20),
        ({"EUR": "0.000000"}, "100.000000", None),
        ({"JPY": "5.000000"}, "100.000000", None),
    ],
)
def test_change_is_against_the_earlier_day(
    before: dict[str, str | int], change: str, per_cent: int | None
) -> None:
    since = date(2026, 2, 28)
    given = answers({"EUR": "100.000000"}, {"EUR": 1}, before=figure("mrr", before, since))

    shown = currency(given, chosen(given))

    assert shown.change == Change(since, Decimal(change), per_cent)


def test_first_day_has_no_change() -> None:
    given = answers({"EUR": "100.000000"}, {"EUR": 1})

    assert currency(given, chosen(given)).change is None


def test_tiles_say_how_many_customers_there_are() -> None:
    given = answers({"EUR": "100.000000"}, {"EUR": 2})
    given["subscriptions"] = figure("subscriptions", {"EUR": 5})

    details = {tile.slug: tile.detail for tile in currency(given, chosen(given)).tiles}

    assert details["customers"] == "7 in all currencies"
    assert details["subscriptions"] == "2.5 per customer"


def test_all_amounts_in_one_currency_can_be_chosen() -> None:
    given = answers({"EUR": "10.000000", "USD": "5.000000"}, {"EUR": 3, "USD": 2})

    offered = choices(given, Filters(), paying(given), "EUR")

    assert [(choice.words, choice.href, choice.is_chosen) for choice in offered] == [
        ("EUR", "?currency=EUR", True),
        ("USD", "?currency=USD", False),
        ("All in EUR", "?currency=reporting", False),
    ]


def test_all_in_the_only_currency_is_not_offered() -> None:
    given = answers({"EUR": "10.000000"}, {"EUR": 3})

    assert [choice.words for choice in choices(given, Filters(), paying(given), "EUR")] == ["EUR"]
    assert [choice.words for choice in choices(given, Filters(), paying(given), "USD")] == [
        "EUR",
        "All in USD",
    ]


def test_address_of_converted_amounts_keeps_the_rates() -> None:
    filters = filters_of(currency="reporting", fx="constant")

    offered = choices({}, filters, {"EUR": 3, "USD": 2}, "EUR")

    assert [(choice.words, choice.href, choice.is_chosen) for choice in offered] == [
        ("EUR", "?currency=EUR", False),
        ("USD", "?currency=USD", False),
        ("All in EUR", "?currency=reporting&fx=constant", True),
    ]
    assert filters.address_of("EUR", month="2026-03-31") == "?currency=reporting&fx=constant&month=2026-03-31"

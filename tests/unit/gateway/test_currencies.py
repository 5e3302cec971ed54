"""Tests of what the overview asks about figures."""

from datetime import date, timedelta

import pytest

from libs.common.figures.catalogue import METRICS
from libs.common.figures.periods import Interval
from libs.common.figures.relations import Group
from services.gateway.pages.currencies import codes, currencies, customers, interval, questions

FIRST = date(2020, 1, 1)


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
    asked = questions(FIRST, FIRST + timedelta(days=days - 1))

    assert asked["history"].interval is points_apart


def test_each_metric_is_asked_by_currency() -> None:
    asked = questions(FIRST, FIRST)

    assert all(asked[metric.slug].group_by == (Group.CURRENCY,) for metric in METRICS)


def test_overview_without_answers_shows_no_currency() -> None:
    assert (codes({}), currencies({}, None), customers({}), interval({})) == ([], [], None, Interval.DAY)

"""Filters of pages: from an address to a form and back."""

from dataclasses import replace
from datetime import date
from urllib.parse import parse_qs
from uuid import UUID

import pytest

from libs.common.contracts.lenses import Lens
from libs.common.figures.counting import countings
from services.gateway.errors import Invalid, NotFound
from services.gateway.pages.filters import Filters, Period, filter_form, filters_of

MAIN, OTHER = UUID(int=1), UUID(int=2)
INSTANCES = {MAIN: "Main", OTHER: "Other"}


def test_address_without_filters_has_defaults() -> None:
    assert filters_of() == Filters(Lens.CONTRACT, None, Period.YEAR, None)


def test_choice_of_the_form_is_read_from_its_address() -> None:
    filters = filters_of(lens="active", currency="JPY", period="30d", instance=str(OTHER))

    chosen = {
        offered.name: choice.value
        for offered in filter_form(filters, INSTANCES, countings(()))
        for choice in offered.choices
        if choice.is_chosen
    }

    assert chosen == {"lens": "active", "period": "30d", "instance": str(OTHER)}
    assert filters_of(**chosen, currency="JPY") == filters


def test_address_with_another_currency_keeps_the_filters() -> None:
    filters = filters_of(lens="active", currency="JPY", period="30d", instance=str(OTHER))

    given = {name: value for name, [value] in parse_qs(filters.address_with("EUR")[1:]).items()}

    assert filters_of(**given) == replace(filters, currency="EUR")


def test_filter_with_one_choice_is_omitted() -> None:
    names = [offered.name for offered in filter_form(Filters(), {MAIN: "Main"}, countings(()))]

    assert names == ["lens", "period"]


@pytest.mark.parametrize("wrong", [{"lens": "x"}, {"period": "x"}, {"currency": "euro"}])
def test_unknown_choice_is_invalid(wrong: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="Choose one from the list"):
        filters_of(**wrong)


def test_instance_that_is_no_id_is_not_found() -> None:
    with pytest.raises(NotFound):
        filters_of(instance="main")


@pytest.mark.parametrize(
    ("period", "first"),
    [
        (Period.MONTH, date(2026, 10, 31)),
        (Period.YEAR, date(2025, 11, 30)),
        (Period.ALL, date(2025, 1, 1)),
    ],
)
def test_line_begins_with_the_period(period: Period, first: date) -> None:
    assert Filters(period=period).first_day(date(2025, 1, 1), date(2026, 11, 29)) == first


def test_line_never_begins_before_the_first_known_day() -> None:
    assert Filters().first_day(date(2026, 11, 20), date(2026, 11, 29)) == date(2026, 11, 20)

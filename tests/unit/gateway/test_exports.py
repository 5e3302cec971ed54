"""Tests of figures as CSV."""

import csv
from datetime import date
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import Figure, Point, Series
from libs.common.figures.operands import Unit
from libs.common.figures.periods import Interval
from services.gateway.exports import csv_text, figure_table

DAY = date(2026, 3, 1)


def test_each_point_is_a_row() -> None:
    value = Point(DAY, "12.500000", None, complete=True)
    missing = Point(DAY, None, "not_permitted", complete=False)
    figure = Figure(
        "mrr",
        Unit.MONEY,
        Interval.DAY,
        "native",
        Lens.CONTRACT,
        None,
        True,
        (
            Series({"product": "i:service:1", "currency": "EUR"}, {"product": "Small, cheap"}, (value,)),
            Series({"product": "i:addon:2", "currency": "EUR"}, {}, (missing,)),
        ),
        (),
    )

    assert csv_text(figure_table(figure)).splitlines() == [
        "on,product,currency,product_name,mrr,reason,complete",
        '2026-03-01,i:service:1,EUR,"Small, cheap",12.500000,,true',
        "2026-03-01,i:addon:2,EUR,,,not_permitted,false",
    ]


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-cmd|x", "@sum", "\t=1", "--5"])
def test_names_never_become_formulas(name: str) -> None:
    assert csv_text([[name]]).startswith(("'", "\"'"))


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=2, max_size=3)))
def test_texts_come_back_as_they_were(rows: list[list[str]]) -> None:
    read = list(csv.reader(StringIO(csv_text(rows), newline="")))

    assert [[cell.removeprefix("'") for cell in row] for row in read] == [
        [cell.removeprefix("'") for cell in row] for row in rows
    ]


@pytest.mark.parametrize("amount", ["-12.500000", "0.000000", "7"])
def test_numbers_stay_numbers(amount: str) -> None:
    assert csv_text([[amount]]) == f"{amount}\r\n"

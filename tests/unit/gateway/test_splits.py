"""The parts of an amount: which are rows, what the others sum to, and how they are named."""

from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import Figure, Point, Series
from libs.common.figures.groups import Group
from libs.common.figures.periods import Interval
from services.gateway.pages.splits import pieces, split

TODAY = date(2026, 11, 29)
_amounts = st.decimals(-(10**9), 10**9, allow_nan=False, allow_infinity=False, places=6)


def series(group: Group, key: str, value: str | None, *, currency: str = "EUR", name: str = "") -> Series:
    point = Point(TODAY, value, None if value else "not_permitted", complete=True)
    names = {group.value: name} if name else {}
    return Series({group.value: key, "currency": currency}, names, (point,))


def figure(*parts: Series) -> Figure:
    return Figure("mrr", "money", Interval.DAY, "native", Lens.CONTRACT, None, True, parts, ())


def test_other_currency_has_no_part() -> None:
    parts = figure(
        series(Group.KIND, "service", "10.000000"), series(Group.KIND, "addon", "7.000000", currency="JPY")
    )

    assert [row.name for row in split(parts, Group.KIND, "EUR").rows] == ["Services"]


def test_largest_part_is_first_and_fills_its_bar() -> None:
    parts = figure(
        series(Group.PRODUCT, "service:1", "25.000000", name="Small"),
        series(Group.PRODUCT, "service:2", "100.000000", name="Large"),
    )

    rows = split(parts, Group.PRODUCT, "EUR").rows

    assert [(row.key, row.name, row.value, row.width) for row in rows] == [
        ("service:2", "Large", "100.000000", 100),
        ("service:1", "Small", "25.000000", 25),
    ]


def test_pieces_stand_side_by_side() -> None:
    parts = figure(series(Group.KIND, "service", "30.000000"), series(Group.KIND, "domain", "10.000000"))

    bar = pieces(split(parts, Group.KIND, "EUR"))

    assert [(piece.row.name, piece.start, piece.row.share) for piece in bar] == [
        ("Services", 0, 75),
        ("Domains", 75, 25),
    ]


def test_year_of_a_domain_and_of_a_service_is_one_part() -> None:
    parts = figure(
        series(Group.CYCLE, "annually", "1.100000"),
        series(Group.CYCLE, "years_1", "2.200000"),
        series(Group.CYCLE, "years_3", "1.000000"),
    )

    rows = split(parts, Group.CYCLE, "EUR").rows

    assert [row.value for row in rows] == ["3.300000", "1.000000"]


def test_part_without_value_says_why() -> None:
    [row] = split(figure(series(Group.KIND, "domain", None)), Group.KIND, "EUR").rows

    assert (row.value, row.reason, row.width) == (None, "WHMCS does not let MRRlytics read it.", 0)


@given(st.lists(_amounts, max_size=120))
def test_no_part_is_lost(amounts: list[Decimal]) -> None:
    parts = [
        series(Group.PRODUCT, f"service:{number}", f"{amount:f}") for number, amount in enumerate(amounts)
    ]

    shown = split(figure(*parts), Group.PRODUCT, "EUR")

    rows = [Decimal(row.value or "nan") for row in shown.rows]
    more = [Decimal(row.value or "nan") for row in shown.more_rows]
    assert sum(rows) + Decimal(shown.rest or 0) == sum(amounts)
    assert sum(more) + Decimal(shown.unlisted_sum or 0) == Decimal(shown.rest or 0)
    assert len(rows) + shown.others == len(rows) + len(more) + shown.unlisted == len(amounts)

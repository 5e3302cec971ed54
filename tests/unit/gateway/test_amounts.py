"""Amounts as people read them."""

from decimal import Decimal

import pytest

from services.gateway.pages.amounts import are_off_by_rounding, change, money, number, ratio, share

NO_BREAK = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1234.560000", "EUR", "1,234.56"),
        ("1234.500000", "JPY", "1,234"),
        ("1234.560000", "KWD", "1,234.560"),
        ("0.125000", "USD", "0.12"),
        ("-1234.560000", "EUR", "\N{MINUS SIGN}1,234.56"),
        ("-0.001000", "EUR", "0.00"),
        ("5.000000", "a currency of nobody", "5.00"),
    ],
)
def test_currency_has_its_own_digits(amount: str, currency: str, text: str) -> None:
    assert number(amount, currency) == text
    assert money(amount, currency) == f"{text}{NO_BREAK}{currency}"


def test_change_has_an_arrow_and_a_word() -> None:
    assert change(Decimal("1.5"), "EUR") == f"▲ up 1.50{NO_BREAK}EUR"
    assert change(Decimal(-2), "JPY") == f"▼ down 2{NO_BREAK}JPY"
    assert change(Decimal(0), "EUR") == "no change"


@pytest.mark.parametrize(
    ("per_cent", "text"), [(12.4, "12"), (99.6, "100"), (0.4, "<1"), (0.0, "0"), (-3.2, "\N{MINUS SIGN}3")]
)
def test_small_share_is_not_nothing(per_cent: float, text: str) -> None:
    assert share(per_cent) == f"{text}{NO_BREAK}%"


def test_rounded_parts_that_do_not_add_up_are_noticed() -> None:
    thirds = ["0.333333", "0.333333", "0.333334"]

    assert are_off_by_rounding(thirds, "EUR")
    assert not are_off_by_rounding(["0.500000", "0.500000"], "EUR")
    assert not are_off_by_rounding([], "EUR")


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        ("0.050000", "5.0 %"),
        ("1.034500", "103.4 %"),
        ("-0.000400", "0.0 %"),
        ("-0.021000", "\N{MINUS SIGN}2.1 %"),
    ],
)
def test_ratio_is_shown_in_per_cent(fraction: str, text: str) -> None:
    assert ratio(fraction) == text.replace(" ", "\N{NO-BREAK SPACE}")

"""Money: exact at the door, rounded once, and never a float."""

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.money import MICROS, divide_half_even, format_micros, parse_micros

AMOUNTS = st.integers(1 - 9 * 10**18, 9 * 10**18 - 1)


@given(AMOUNTS)
def test_amount_survives_formatting_and_parsing(micros: int) -> None:
    assert parse_micros(format_micros(micros)) == micros


@given(AMOUNTS)
def test_amounts_are_written_with_six_places(micros: int) -> None:
    text = format_micros(micros)

    assert len(text.partition(".")[2]) == 6
    assert Decimal(text) * MICROS == micros


@given(st.decimals(-(10**12), 10**12, places=9))
def test_digits_after_the_sixth_are_rounded_half_to_even(value: Decimal) -> None:
    assert Decimal(format_micros(parse_micros(value))) == value.quantize(Decimal("1e-6"), ROUND_HALF_EVEN)


@pytest.mark.parametrize(
    ("text", "micros"),
    [("12.95", 12_950_000), (12, 12_000_000), ("-1.00", -1_000_000), (" 0.1 ", 100_000), ("0.0000005", 0)],
)
def test_amounts_are_read_as_whmcs_writes_them(text: object, micros: int) -> None:
    assert parse_micros(text) == micros


@pytest.mark.parametrize(
    "text", ["", "abc", "1.234,56", "NaN", "Infinity", "1e400", "10000000000000", None, "$5"]
)
def test_text_that_is_not_an_amount_is_an_error(text: object) -> None:
    with pytest.raises(ValueError, match="amount"):
        parse_micros(text)


@given(AMOUNTS, st.integers(1, 1200))
def test_division_rounds_half_to_even(amount: int, parts: int) -> None:
    share = divide_half_even(amount, parts)

    assert 2 * abs(amount - share * parts) <= parts
    assert 2 * abs(amount - share * parts) < parts or share % 2 == 0


@given(AMOUNTS, st.integers(1, 1200))
def test_credit_is_divided_like_its_charge(amount: int, parts: int) -> None:
    assert divide_half_even(-amount, parts) == -divide_half_even(amount, parts)

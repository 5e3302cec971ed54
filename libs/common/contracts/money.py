"""Money as integers: micros, the millionth part of a currency's major unit."""

from decimal import Decimal, InvalidOperation
from typing import Final

MICROS: Final = 1_000_000


def parse_micros(text: object) -> int:
    """Micros of a decimal as WHMCS writes it ("12.95", 12, "-1.00"); ValueError when it is no plain finite decimal or too big for 64 bits.

    Digits beyond the sixth place are rounded half to even.
    """
    try:
        value = Decimal(str(text).strip())
    except InvalidOperation as error:
        raise ValueError(f"{text!r:.40} is not a decimal amount") from error
    if not value.is_finite() or abs(value) >= Decimal(9_000_000_000_000):
        raise ValueError(f"{text!r:.40} is not an amount that can be stored")
    return int((value * MICROS).to_integral_value())


def format_micros(micros: int) -> str:
    """A decimal string with six places, as the API shows amounts."""
    sign, digits = ("-", -micros) if micros < 0 else ("", micros)
    return f"{sign}{digits // MICROS}.{digits % MICROS:06d}"


def divide_half_even(amount: int, parts: int) -> int:
    """amount / parts, rounded half to even: the one rounding of an item's MRR. `parts` is above 0."""
    quotient, remainder = divmod(amount, parts)
    if 2 * remainder > parts or (2 * remainder == parts and quotient % 2):
        return quotient + 1
    return quotient

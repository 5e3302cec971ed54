"""Money as integers: micros, which are millionths of a currency's major unit."""

from decimal import Decimal, InvalidOperation
from typing import Final

MICROS: Final = 1_000_000


def parse_micros(text: object) -> int:
    """Return the micros of a decimal as WHMCS writes it ("12.95", 12, "-1.00"), rounded half to even.

    Raise ValueError for anything that is not a finite decimal or does not fit into 64 bits.
    """
    try:
        value = Decimal(str(text).strip())
    except InvalidOperation as error:
        raise ValueError(f"{text!r:.40} is not a decimal amount") from error
    if not value.is_finite() or abs(value) >= Decimal(9_000_000_000_000):
        raise ValueError(f"{text!r:.40} is not an amount that can be stored")
    return int((value * MICROS).to_integral_value())


def format_micros(micros: int) -> str:
    """Return a decimal string with six places, as the API shows amounts."""
    sign, digits = ("-", -micros) if micros < 0 else ("", micros)
    return f"{sign}{digits // MICROS}.{digits % MICROS:06d}"


def divide_half_even(amount: int, parts: int) -> int:
    """Return amount / parts, rounded half to even. `parts` is above 0. Only this function rounds the MRR of a subscription."""
    quotient, remainder = divmod(amount, parts)
    if 2 * remainder > parts or (2 * remainder == parts and quotient % 2):
        return quotient + 1
    return quotient

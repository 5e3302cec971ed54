"""Amounts as people read them: the currency's own digits, a no-break space before its code, a true minus sign."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

_MINUS: Final = "\N{MINUS SIGN}"
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
# ISO 4217 gives all other currencies two digits.
_NO_DIGITS: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DIGITS: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DIGITS: Final = "CLF UYW"
_DIGITS: Final = {
    code: digits
    for codes, digits in ((_NO_DIGITS, 0), (_THREE_DIGITS, 3), (_FOUR_DIGITS, 4))
    for code in codes.split()
}


def count(number: int) -> str:
    """Return 1234 as `1,234`."""
    return f"{number:,}"


def number(amount: str | Decimal, currency: str) -> str:
    """Return `1234.560000` EUR as `1,234.56`, rounded half to even."""
    return f"{Decimal(amount):z,.{_digits(currency)}f}".replace("-", _MINUS)


def money(amount: str | Decimal, currency: str) -> str:
    """Return `1234.560000` EUR as `1,234.56 EUR`."""
    return f"{number(amount, currency)}{_NO_BREAK}{currency}"


def change(amount: Decimal, currency: str) -> str:
    """Return a difference with an arrow and a word."""
    if not amount:
        return "no change"
    direction = "▲ up" if amount > 0 else "▼ down"
    return f"{direction} {money(abs(amount), currency)}"


def share(per_cent: float) -> str:
    """Return `12 %`, and `<1 %` for less than half a per cent that is not nothing."""
    return f"{'<1' if 0 < per_cent < 0.5 else f'{per_cent:z.0f}'.replace('-', _MINUS)}{_NO_BREAK}%"


def ratio(fraction: str | Decimal) -> str:
    """Return the fraction `0.050000` as `5.0 %`, rounded half to even."""
    return f"{Decimal(fraction).scaleb(2):z,.1f}".replace("-", _MINUS) + f"{_NO_BREAK}%"


def are_off_by_rounding(parts: Iterable[str], currency: str) -> bool:
    """Return whether the parts, each rounded for reading, sum to something else than their rounded total."""
    place = Decimal(1).scaleb(-_digits(currency))
    exact = [Decimal(part) for part in parts]
    return sum((part.quantize(place) for part in exact), Decimal()) != sum(exact, Decimal()).quantize(place)


def _digits(currency: str) -> int:
    return _DIGITS.get(currency, 2)

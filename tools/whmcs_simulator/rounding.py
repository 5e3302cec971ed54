"""The one rounding rule of the simulator."""


def round_half_even(numerator: int, denominator: int) -> int:
    """Return the quotient as an integer, a half rounded to the even neighbour. The denominator is positive."""
    quotient, rest = divmod(numerator, denominator)
    if rest * 2 > denominator or (rest * 2 == denominator and quotient % 2):
        quotient += 1
    return quotient

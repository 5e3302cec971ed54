"""How WHMCS writes amounts, moments and texts."""

import html
from collections.abc import Callable
from typing import Any, Final

from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import iso
from tools.whmcs_simulator.records import (
    SECONDS_OF_A_DAY,
)

Row = dict[str, Any]


RowOf = Callable[[Company, Any], Row]


# WHMCS developer docs: an absent time. inferred: dates likewise, also the due date of a free or one-time service.
NO_MOMENT: Final = "0000-00-00 00:00:00"


def amount(hundredths: int) -> str:
    sign = "-" if hundredths < 0 else ""
    whole, rest = divmod(abs(hundredths), 100)
    return f"{sign}{whole}.{rest:02d}"


def moment(seconds: int) -> str:
    if not seconds:
        return NO_MOMENT
    day, second = divmod(seconds, SECONDS_OF_A_DAY)
    return f"{iso(day)} {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def stored(text: str) -> str:
    """Return a text as WHMCS stores it: with HTML entities."""
    # client code, sensson/whmcs-moneybird, for texts of clients. inferred: for all other names, too.
    return html.escape(text).replace("&#x27;", "&#039;")

"""Profiles: which WHMCS a company uses, and whether it lives through the rare events that a judge of history needs."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Profile:
    """`is_life` turns on the events in lives.py, and turns off the odd rows in hard_cases.py, which no history explains."""

    name: str
    version: str = "8.13.1"
    date_format: str = "%d/%m/%Y"
    """The format of dates in the texts of invoice lines."""
    is_life: bool = False
    has_resellers: bool = False
    # WHMCS developer docs, changelog: `qty` since 8.12, early renewals since 8.8, times of invoices since about 8.1.
    has_quantities: bool = True
    has_early_renewals: bool = True
    has_invoice_times: bool = True


DEMO: Final = Profile("demo")
MODERN: Final = Profile("modern", is_life=True)
"""A small host on the newest 8.x."""
OLD: Final = Profile(
    "old",
    version="8.0.4",
    date_format="%m/%d/%Y",
    is_life=True,
    has_resellers=True,
    has_quantities=False,
    has_early_renewals=False,
    has_invoice_times=False,
)
"""A host of resellers on the oldest version that the API notes support."""
LIVES: Final = (MODERN, OLD)
PROFILES: Final = {profile.name: profile for profile in (DEMO, *LIVES)}

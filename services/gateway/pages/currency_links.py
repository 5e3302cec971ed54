"""The currencies to choose from on a page that shows one at a time. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from libs.common.figures.answers import Figure
from libs.common.figures.rates import REPORTING
from services.gateway.pages.filters import Filters


class CurrencyLink(NamedTuple):
    """A currency to choose: its address, and how many customers pay in it, None when that is not known.

    `words` name the choice: the currency by itself, or all amounts in it.
    """

    code: str
    words: str
    href: str
    customers: int | None
    is_chosen: bool


def currency_links(
    customers: Mapping[str, int | None],
    filters: Filters,
    reporting: str | None = None,
    **others: Sequence[str],
) -> list[CurrencyLink]:
    """Return the currencies, those of most customers first, and all amounts in the currency `reporting`, if that shows something else.

    The first currency is chosen unless the filters name another. `customers` has the number of customers of each currency, and `others`
    the parameters that the addresses keep.
    """
    ordered = sorted(customers, key=lambda code: (-(customers[code] or 0), code))
    is_converted = filters.target is not None
    chosen = None if is_converted else filters.currency or next(iter(ordered), None)
    links = [
        CurrencyLink(code, code, filters.address_with(code, **others), customers[code], code == chosen)
        for code in ordered
    ]
    if reporting and (is_converted or set(ordered) - {reporting}):
        href = filters.address_with(REPORTING, **others)
        links.append(CurrencyLink(reporting, f"All in {reporting}", href, None, is_converted))
    return links


def chosen_currency(links: Iterable[CurrencyLink], filters: Filters) -> str | None:
    """Return the currency that a page shows, which may have no customers; None when there are no currencies."""
    return next((link.code for link in links if link.is_chosen), filters.currency)


def customers_by_currency(figure: Figure) -> dict[str, int | None]:
    """Return how many customers pay in each currency at the last point of the figure `customers`; currencies without any are missing."""
    values = {series.group["currency"]: series.points[-1].value for series in figure.series if series.points}
    return {code: int(value) for code, value in values.items() if value}

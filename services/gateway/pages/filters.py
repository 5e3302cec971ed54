"""The filters of a page of figures: read once from its address, with their choices in words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Final, NamedTuple, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Depends

from libs.common.contracts.lenses import Lens
from libs.common.figures.rates import REPORTING, Fx, Target
from services.gateway.errors import Invalid, instance_not_found

_Choice = TypeVar("_Choice", bound=StrEnum)


class Period(StrEnum):
    """Which days a line shows, up to the newest one."""

    MONTH = "30d"
    QUARTER = "90d"
    YEAR = "12m"
    ALL = "all"


_PERIODS: Final[dict[str, str]] = {
    Period.MONTH: "last 30 days",
    Period.QUARTER: "last 90 days",
    Period.YEAR: "last 12 months",
    Period.ALL: "all known days",
}
_RATES: Final[dict[str, str]] = {Fx.DAILY: "of each day", Fx.CONSTANT: "of today for all days"}
_DEFAULTS: Final = {"lens": Lens.CONTRACT, "period": Period.YEAR, "fx": Fx.DAILY}
_DAYS: Final = {Period.MONTH: 30, Period.QUARTER: 90, Period.YEAR: 365}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which subscriptions count, the currency and the instance to show, and the days of a line.

    Without a currency, a page shows the one with the most customers; without an instance, all of them. With a `target`, all amounts are
    converted into it.
    """

    counting: Lens = Lens.CONTRACT
    currency: str | None = None
    period: Period = Period.YEAR
    instance_id: UUID | None = None
    target: Target | None = None

    def first_day(self, known_from: date, newest: date) -> date:
        """Return the first day of a line. Days before `known_from` are never shown."""
        if self.period is Period.ALL:
            return known_from
        return max(known_from, newest - timedelta(days=_DAYS[self.period] - 1))

    @property
    def native(self) -> "Filters":
        """Return these filters for a page whose amounts are not converted."""
        return replace(self, target=None)

    def parameter(self, currency: str | None) -> str | None:
        """Return the parameter of an address that shows the same as this page, which shows this currency."""
        return currency if self.target is None else REPORTING

    def address_of(self, currency: str | None, **others: str | Sequence[str]) -> str:
        """Return the query of an address that shows the same as this page, which shows this currency, with other parameters."""
        return self.address_with(self.parameter(currency), **others)

    def address_with(self, currency: str | None, **others: str | Sequence[str]) -> str:
        """Return the query of an address with these filters, a currency, and other parameters; empty when all are the defaults."""
        given = {"currency": currency, "lens": self.counting, "period": self.period}
        given |= {"fx": self.target.fx} if self.target and currency == REPORTING else {}
        given |= {} if self.instance_id is None else {"instance": str(self.instance_id)}
        query = urlencode(
            {name: value for name, value in given.items() if value != _DEFAULTS.get(name)} | others,
            doseq=True,
        )
        return f"?{query}" if query else ""


class Choice(NamedTuple):
    """One value of a filter, as an address carries it and as a person reads it."""

    value: str
    words: str
    is_chosen: bool


class Filter(NamedTuple):
    """A filter as a form shows it; `name` is that of the address."""

    name: str
    label: str
    choices: tuple[Choice, ...]


def filters_of(
    lens: str = Lens.CONTRACT,
    currency: str = "",
    period: str = Period.YEAR,
    instance: str = "",
    fx: str = Fx.DAILY,
) -> Filters:
    """Return the filters of an address. Raise Invalid or NotFound for a choice that does not exist."""
    rates, is_converted = _choice(Fx, fx, "fx"), currency == REPORTING
    if currency and not is_converted and not re.fullmatch("[A-Z]{3}", currency):
        raise Invalid(
            "currency_unknown", "This currency does not exist. Choose one from the list.", "currency"
        )
    return Filters(
        counting=_choice(Lens, lens, "lens"),
        currency=None if is_converted else currency or None,
        period=_choice(Period, period, "period"),
        instance_id=_instance_id(instance),
        target=Target(REPORTING, rates) if is_converted else None,
    )


AddressFilters = Annotated[Filters, Depends(filters_of)]


def filter_form(filters: Filters, instances: Mapping[UUID, str], counting: Mapping[str, str]) -> list[Filter]:
    """Return the filters to choose from; `counting` says what counts by each lens.

    A filter with one choice is omitted. The currency has links of its own.
    """
    names = {str(instance_id): name for instance_id, name in instances.items()}
    chosen_instance = "" if filters.instance_id is None else str(filters.instance_id)
    offered = (
        _filter("lens", "Counting", counting, filters.counting),
        _filter("period", "Period", _PERIODS, filters.period),
        _filter("instance", "Instance", {"": "all", **names} if len(names) > 1 else names, chosen_instance),
    )
    rates = [] if filters.target is None else [_filter("fx", "Exchange rates", _RATES, filters.target.fx)]
    return [offer for offer in (*offered, *rates) if len(offer.choices) > 1]


def _filter(name: str, label: str, words: Mapping[str, str], chosen: str) -> Filter:
    return Filter(name, label, tuple(Choice(value, text, value == chosen) for value, text in words.items()))


def _choice(choices: type[_Choice], text: str, field: str) -> _Choice:
    try:
        return choices(text)
    except ValueError as error:
        raise Invalid(
            f"{field}_unknown", "This choice does not exist. Choose one from the list.", field
        ) from error


def _instance_id(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise instance_not_found() from error

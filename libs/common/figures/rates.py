"""Rates of currencies, each with the day on which it was seen, and the conversion of amounts by them. Pure."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.figures.errors import QuestionError

NATIVE: Final = "native"
REPORTING: Final = "reporting"
_ONE: Final = Fraction(1)


class Fx(StrEnum):
    """The rates by which amounts are converted: those of each day, or today's for all days."""

    DAILY = "daily"
    CONSTANT = "constant"


class Target(NamedTuple):
    """The currency into which a question converts amounts, `reporting` for that of the organization, and by which rates."""

    currency: str
    fx: Fx = Fx.DAILY


class SeenRate(NamedTuple):
    """The rate of a currency that a sync of an instance saw on a day. An amount divided by it is in the default currency."""

    instance_id: UUID
    id: int
    currency: str
    on: date
    rate: Fraction
    is_default: bool


@dataclass(frozen=True, slots=True)
class Steps:
    """A number from each of the days on, until the next. The first one also holds before."""

    days: tuple[date, ...]
    numbers: tuple[Fraction, ...]

    def on(self, day: date) -> Fraction:
        """Return the number of a day."""
        return self.numbers[self._index(day)]

    def since(self, day: date) -> date:
        """Return the day from which the number of a day holds."""
        return self.days[self._index(day)]

    def _index(self, day: date) -> int:
        return max(bisect_right(self.days, day) - 1, 0)


class Pair(NamedTuple):
    """What amounts in a currency of an instance are multiplied by: rates of the instance `by`, None if amounts stay as they are."""

    factors: Steps
    by: UUID | None


_SAME: Final = Pair(Steps((date.min,), (_ONE,)), None)


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """How amounts become amounts in `currency`: a factor for each instance and currency that has one. All others are left out."""

    currency: str
    fx: Fx
    pairs: Mapping[tuple[UUID, str], Pair]

    def change_days(self, first: date, last: date) -> tuple[date, ...]:
        """Return the days in (first, last] on which a factor changes."""
        days = {day for pair in self.pairs.values() for day in pair.factors.days if first < day <= last}
        return tuple(sorted(days))

    def used(self, on: date) -> list["UsedRate"]:
        """Return the rates of a day for amounts that are not in the currency already."""
        return [
            UsedRate(instance_id, code, pair.by, pair.factors.on(on), pair.factors.since(on))
            for (instance_id, code), pair in self.pairs.items()
            if pair.by is not None
        ]


class UsedRate(NamedTuple):
    """An amount in a currency of an instance is multiplied by `factor`, by rates that the instance `by` had since a day, or before it."""

    instance_id: UUID
    currency: str
    by: UUID
    factor: Fraction
    since: date


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """All rates of an organization. `instances` are its instances, the oldest first; `reporting` is its own choice of a currency."""

    instances: Sequence[UUID] = ()
    seen: Mapping[UUID, Mapping[str, Steps]] = field(default_factory=dict)
    defaults: Mapping[UUID, str] = field(default_factory=dict)
    reporting: str | None = None

    @property
    def reporting_currency(self) -> str | None:
        """Return the chosen currency, else the default currency of the oldest instance that has one."""
        defaults = (self.defaults[instance] for instance in self.instances if instance in self.defaults)
        return self.reporting or next(defaults, None)

    @property
    def currencies(self) -> list[str]:
        """Return all currencies with a rate."""
        return sorted({code for of_instance in self.seen.values() for code in of_instance})

    def conversion(self, target: Target, newest: date) -> Conversion:
        """Return the conversion into a currency. Constant rates are those of the day `newest`.

        An amount is converted by the rates of its own instance if that has both currencies, else by those of the oldest instance that has.
        Raise QuestionError for a currency without a rate.
        """
        currency = self._currency_of(target)
        pairs = {}
        for instance in self.instances:
            pairs[instance, currency] = _SAME
            for code in self.currencies:
                if code != currency and (pair := self._pair(instance, code, currency)) is not None:
                    pairs[instance, code] = pair
        if target.fx is Fx.CONSTANT:
            pairs = {key: Pair(_fixed(pair.factors, newest), pair.by) for key, pair in pairs.items()}
        return Conversion(currency, target.fx, pairs)

    def _currency_of(self, target: Target) -> str:
        currency = self.reporting_currency if target.currency == REPORTING else target.currency
        if currency is None or (currency not in self.currencies and target.currency != REPORTING):
            choices = f"any of {', '.join(self.currencies)}, or " if self.currencies else ""
            raise QuestionError(
                "currency_unknown",
                f"No rate is known to convert amounts into this currency. Use {choices}currency=native, which converts nothing. "
                "Rates come from WHMCS: its API role must allow GetCurrencies.",
                "currency",
            )
        return currency

    def _pair(self, instance: UUID, code: str, currency: str) -> Pair | None:
        for by in (instance, *self.instances):
            rates = self.seen.get(by, {})
            if code in rates and currency in rates:
                return Pair(_quotients(rates[currency], rates[code]), by)
        return None


NO_RATES: Final = Rates()


class Unconverted(NamedTuple):
    """Subscriptions of an instance that are left out of converted figures, because their currency has no rate."""

    instance_id: UUID
    currency: str
    subscriptions: int


def _fixed(factors: Steps, newest: date) -> Steps:
    return Steps((factors.since(newest),), (factors.on(newest),))


def _quotients(to: Steps, of: Steps) -> Steps:
    """Return what amounts are multiplied by from each day on which that changes. WHMCS divides an amount by the rate of its currency."""
    days: list[date] = []
    factors: list[Fraction] = []
    for day in sorted({*to.days, *of.days}):
        factor = to.on(day) / of.on(day)
        if not factors or factor != factors[-1]:
            days.append(day)
            factors.append(factor)
    return Steps(tuple(days), tuple(factors))


def rates_of(instances: Sequence[UUID], seen: Iterable[SeenRate], reporting: str | None) -> Rates:
    """Return the rates of an organization from all that syncs saw, in their order: the last of a day decides the day."""
    by_day: dict[UUID, dict[str, dict[date, Fraction]]] = defaultdict(lambda: defaultdict(dict))
    newest: dict[tuple[UUID, int], SeenRate] = {}
    for row in seen:
        by_day[row.instance_id][row.currency][row.on] = row.rate
        newest[row.instance_id, row.id] = row
    rates = {
        instance: {code: _steps(of_code) for code, of_code in codes.items()}
        for instance, codes in by_day.items()
    }
    return Rates(instances, rates, _defaults(newest.values()), reporting)


def _steps(rates: Mapping[date, Fraction]) -> Steps:
    days = sorted(rates)
    return Steps(tuple(days), tuple(rates[day] for day in days))


def _defaults(rates: Iterable[SeenRate]) -> dict[UUID, str]:
    """Return the default currency of each instance: its rate is 1. Among several it is the one that WHMCS made first."""
    defaults: dict[UUID, str] = {}
    for row in sorted(rates, key=lambda row: (not row.is_default, row.id)):
        if row.rate == 1:
            defaults.setdefault(row.instance_id, row.currency)
    return defaults

"""The true MRR of the company, computed from its recorded versions and never from an answer of the API."""

from bisect import bisect_right
from collections import defaultdict
from datetime import date
from itertools import chain
from typing import Any, Final, Literal, NamedTuple, get_args

from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import months_of
from tools.whmcs_simulator.records import Kind, Subscription, Version
from tools.whmcs_simulator.rounding import round_half_even

Lens = Literal["contract", "active", "status"]
LENSES: Final[tuple[Lens, ...]] = get_args(Lens)

GRACE_DAYS: Final = 14
MICROS_OF_A_HUNDREDTH: Final = 10_000


def true_figures(company: Company, day: date, lens: Lens, *, items: bool = False) -> dict[str, Any]:
    """Return MRR in micros at the end of `day` for each currency: in all, by kind, by cycle and by product.

    Past days count what was true at their end, today what is true now; fraud never counted. With `items`, the subscriptions that count
    are listed, too. Raise ValueError for a day in the future.
    """
    if day.toordinal() > company.today:
        raise ValueError(f"{day} has not come: today is {date.fromordinal(company.today)}")
    currencies: dict[str, _Sum] = defaultdict(_Sum)
    counted: list[dict[str, Any]] = []
    for subscription in chain(company.subscriptions(), company.deleted):
        if is_fraud(subscription):
            continue
        version = _version_on(subscription.versions, day.toordinal())
        if version is None:
            continue
        days = counting_days(subscription.kind, version, lens)
        if days is None or not days.first <= day.toordinal() <= days.last:
            continue
        mrr = mrr_micros(version.recurring, version.cycle)
        currencies[version.currency].add(subscription.kind, version, mrr)
        if items:
            counted.append(
                {
                    "kind": subscription.kind,
                    "id": subscription.id,
                    "customer_id": version.customer_id,
                    "currency": version.currency,
                    "mrr_micros": mrr,
                }
            )
    result: dict[str, Any] = {
        "day": day.isoformat(),
        "lens": lens,
        "customers": len(set[int]().union(*(total.customers for total in currencies.values()))),
        "subscriptions": sum(total.subscriptions for total in currencies.values()),
        "currencies": {code: currencies[code].as_json() for code in sorted(currencies)},
    }
    return result | {"items": counted} if items else result


def mrr_micros(recurring: int, cycle: str) -> int:
    """Return the MRR of a subscription in micros, rounded once; 0 for a cycle that does not recur."""
    months = months_of(cycle)
    return round_half_even(recurring * MICROS_OF_A_HUNDREDTH, months) if months else 0


def _version_on(versions: list[Version], day: int) -> Version | None:
    index = bisect_right(versions, day, key=lambda version: version.day)
    return versions[index - 1] if index else None


def is_fraud(subscription: Subscription) -> bool:
    """Return whether a subscription turned out to be fraud, also when it was deleted later."""
    statuses = [version.status for version in subscription.versions if version.status != "Deleted"]
    return statuses[-1:] == ["Fraud"]


class Days(NamedTuple):
    """The days from `first` to `last`, both included."""

    first: int
    last: int


_ALWAYS: Final = Days(1, date.max.toordinal())


def counting_days(kind: Kind, version: Version, lens: Lens) -> Days | None:
    """Return the days on which a subscription counts while it is as this version says; None for no day."""
    if not counts_for_something(version.recurring) or not months_of(version.cycle):
        return None
    if version.status not in _COUNTED[lens]["domain" if kind == "domain" else "other"]:
        return None
    if lens != "contract":
        return _ALWAYS
    if version.next_due_on is None:
        return None
    is_ending = version.cancellation_requested or not version.renews
    # Before the first payment the due date is the registration date, so grace starts there.
    return Days(version.registered_on, version.next_due_on + (0 if is_ending else GRACE_DAYS))


def counts_for_something(recurring: int) -> bool:
    """Return whether a price is part of MRR. A negative one is a discount, and exactly -1.00 means "not offered"."""
    return recurring not in (0, -100)


_COUNTED: Final[dict[Lens, dict[str, tuple[str, ...]]]] = {
    "contract": {"domain": ("Active", "Grace"), "other": ("Active", "Suspended")},
    "active": {"domain": ("Active",), "other": ("Active",)},
    "status": {"domain": ("Active",), "other": ("Active", "Suspended")},
}


class _Sum:
    def __init__(self) -> None:
        self.mrr = 0
        self.subscriptions = 0
        self.mrr_of_customers: dict[int, int] = defaultdict(int)
        self.by_kind: dict[str, int] = {"service": 0, "addon": 0, "domain": 0}
        self.by_cycle: dict[str, int] = defaultdict(int)
        self.by_product: dict[str, int] = defaultdict(int)

    def add(self, kind: Kind, version: Version, mrr: int) -> None:
        self.mrr += mrr
        # A discount lowers the MRR of its customer, and is no subscription.
        self.subscriptions += mrr > 0
        self.mrr_of_customers[version.customer_id] += mrr
        self.by_kind[kind] += mrr
        self.by_cycle[version.cycle] += mrr
        self.by_product[version.product] += mrr

    @property
    def customers(self) -> set[int]:
        return {id_ for id_, mrr in self.mrr_of_customers.items() if mrr > 0}

    def as_json(self) -> dict[str, Any]:
        return {
            "mrr_micros": self.mrr,
            "customers": len(self.customers),
            "subscriptions": self.subscriptions,
            "by_kind": self.by_kind,
            "by_cycle": dict(sorted(self.by_cycle.items())),
            "by_product": dict(sorted(self.by_product.items())),
        }

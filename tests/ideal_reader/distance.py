"""How far the ideal reader is from the truth at the ends of months, and why: what today's API cannot tell about the past."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from fractions import Fraction
from itertools import chain
from typing import NamedTuple

from tests.ideal_reader.reader import Stretch
from tests.ideal_reader.shown import Key
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.history import Span
from tools.whmcs_simulator.records import Subscription, Version
from tools.whmcs_simulator.truth import mrr_micros


class Claim(NamedTuple):
    """Whose MRR a subscription is on a day, and how much."""

    customer_id: int
    currency: str
    mrr_micros: int


class Distance(NamedTuple):
    """The sums over all months, in micros of the default currency. `causes` splits the sum over single items."""

    truth: int
    of_totals: int
    of_items: int
    causes: Counter[str]

    @property
    def share(self) -> float:
        """Return how much of the true MRR the totals of months differ."""
        return self.of_totals / self.truth


def month_ends(today: date, number: int) -> list[date]:
    """Return the last days of the last complete months, the newest first."""
    ends = []
    on = today + timedelta(days=1)
    while len(ends) < number:
        on = on.replace(day=1) - timedelta(days=1)
        ends.append(on)
    return ends


def as_spans(stretches: Iterable[Stretch]) -> list[Span]:
    """Return the stretches in the shape of the true history."""
    return [
        Span(
            s.key[0],
            s.key[1],
            s.customer_id,
            s.currency,
            s.mrr_micros,
            s.from_on.toordinal(),
            s.to_on.toordinal(),
        )  # type: ignore[arg-type]
        for s in stretches
    ]


def items_on(spans: Iterable[Span], day: int) -> dict[Key, Claim]:
    return {
        (span.kind, span.id): Claim(span.customer_id, span.currency, span.mrr_micros)
        for span in spans
        if span.from_on <= day < span.to_on
    }


def distance(company: Company, truth: list[Span], ours: list[Span], months: int = 24) -> Distance:
    """Compare two histories of a company at the ends of its last months."""
    total = of_totals = of_items = 0
    causes: Counter[str] = Counter()
    subscriptions = {(s.kind, s.id): s for s in chain(company.deleted, company.subscriptions())}
    for day in (on.toordinal() for on in month_ends(date.fromordinal(company.today), months)):
        true_items, our_items = items_on(truth, day), items_on(ours, day)
        sums: dict[str, int] = defaultdict(int)
        for key in true_items.keys() | our_items.keys():
            true, our = true_items.get(key), our_items.get(key)
            for claim, sign in ((true, 1), (our, -1)):
                if claim:
                    sums[claim.currency] += sign * claim.mrr_micros
            total += _in_default(company, true)
            if true != our:
                amount = _difference(company, true, our)
                of_items += amount
                causes[_cause(company, subscriptions[key], day, true, our)] += amount
        of_totals += sum(abs(_in_default(company, Claim(0, *sum_))) for sum_ in sums.items())
    return Distance(total, of_totals, of_items, causes)


def added_up(distances: Iterable[Distance]) -> Distance:
    sums = Distance(0, 0, 0, Counter())
    for apart in distances:
        sums = Distance(*(total + new for total, new in zip(sums, apart, strict=True)))
    return sums


def _in_default(company: Company, claim: Claim | None) -> int:
    """Return an amount in micros of the default currency."""
    if claim is None:
        return 0
    return round(claim.mrr_micros / Fraction(company.catalogue.currencies[claim.currency].rate))


def _difference(company: Company, true: Claim | None, our: Claim | None) -> int:
    if true and our and true[:2] == our[:2]:
        return abs(_in_default(company, true) - _in_default(company, our))
    return abs(_in_default(company, true)) + abs(_in_default(company, our))


def _cause(
    company: Company, subscription: Subscription, day: int, true: Claim | None, our: Claim | None
) -> str:
    """Return why the API cannot tell the state of this subscription on that day."""
    if subscription.status == "Deleted" or subscription.customer_id not in company.customers:
        return "deleted row"
    if true and our:
        if true[:2] != our[:2]:
            return "moved"
        return _cause_of_price(subscription, day, our.mrr_micros)
    if true:
        first = next(v for v in subscription.versions if v.status in ("Active", "Suspended"))
        return "never paid" if first.next_due_on == subscription.next_due_on else "counted too short"
    if all(version.status == "Pending" for version in subscription.versions if version.day <= day):
        return "before the first payment"
    if subscription.kind == "domain":
        return "domain without end"
    return "end without a date"


def _cause_of_price(subscription: Subscription, day: int, ours: int) -> str:
    """Return what changed between the day and the nearest day on which the subscription had our price."""
    versions = subscription.versions
    true = [version for version in versions if version.day <= day][-1]
    same = [v for v in versions if mrr_micros(v.recurring, v.cycle) == ours]
    if not same:
        has_upgrade = len({version.product for version in versions}) > 1
        return "charge of an upgrade" if has_upgrade else "price of no version"
    nearest: Version = min(same, key=lambda version: abs(version.day - day))
    if nearest.product != true.product:
        return "product"
    if nearest.cycle != true.cycle:
        return "cycle"
    return "promotion" if subscription.promotion_id else "date of a price"

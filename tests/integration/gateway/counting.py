"""Figures by their definition: counted segment by segment, which is slow."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from statistics import median
from typing import NamedTuple
from uuid import UUID

from libs.common.contracts.money import divide_half_even, format_micros
from libs.common.figures.groups import Group
from tests.integration.gateway.books import KINDS, Segment, Site


def keys_of(segment: Segment) -> dict[Group, str]:
    """The key of a segment in each group, as answers show it."""
    product = segment.product if segment.kind == "domain" else f"{segment.instance_id}:{segment.product}"
    of_instance = {
        Group.PRODUCT_GROUP: segment.product_group,
        Group.CUSTOMER_GROUP: segment.customer_group,
        Group.PROMOTION: segment.promotion_id,
    }
    return {
        Group.KIND: segment.kind,
        Group.PRODUCT: product,
        Group.CYCLE: segment.cycle,
        Group.CURRENCY: segment.currency,
        Group.COUNTRY: segment.country or "unknown",
        Group.PAYMENT_METHOD: segment.payment_method or "unknown",
        Group.INSTANCE: str(segment.instance_id),
        **{
            group: "unknown" if value is None else f"{segment.instance_id}:{value}"
            for group, value in of_instance.items()
        },
    }


def key_of(segment: Segment, groups: Sequence[Group]) -> tuple[str, ...]:
    keys = keys_of(segment)
    return tuple(keys[group] for group in groups)


def is_live(segment: Segment, site: Site, on: date) -> bool:
    days = site.days_of(segment.kind)
    if days is None or on < days[0]:
        return False
    shown = min(on, days[1])
    return segment.from_on <= shown and (segment.to_on is None or shown < segment.to_on)


class Account(NamedTuple):
    """A customer in one currency."""

    instance_id: UUID
    customer_id: int
    currency: str


Amounts = dict[Account, int]


class Counted(NamedTuple):
    """What is live in a group. `paying` has the micros of customers whose sum is above 0, `amounts` those of all."""

    micros: int = 0
    subscriptions: int = 0
    amounts: Amounts = {}  # noqa: RUF012  nothing is ever added

    @property
    def paying(self) -> Amounts:
        return {account: amount for account, amount in self.amounts.items() if amount > 0}

    @property
    def customers(self) -> set[tuple[UUID, int]]:
        return {account[:2] for account in self.paying}


Live = dict[tuple[str, ...], Counted]


def counted(segments: Sequence[Segment], sites: dict[UUID, Site], groups: Sequence[Group], on: date) -> Live:
    """What is live on a day."""
    live: dict[tuple[str, ...], list[Segment]] = defaultdict(list)
    for segment in segments:
        if is_live(segment, sites[segment.instance_id], on):
            live[key_of(segment, groups)].append(segment)
    return {
        key: Counted(
            sum(segment.mrr_micros for segment in of_group),
            sum(segment.mrr_micros > 0 for segment in of_group),
            by_customer(of_group),
        )
        for key, of_group in live.items()
    }


def by_customer(segments: Sequence[Segment]) -> Amounts:
    amounts: Amounts = defaultdict(int)
    for segment in segments:
        account = Account(segment.instance_id, segment.customer_id, segment.currency)
        amounts[account] += segment.mrr_micros
    return dict(amounts)


def value(slug: str, live: Counted, before: Counted) -> str | int | None:
    """The value of a metric from what is live, and what was live on the day before the period."""
    customers, starters = len(live.customers), sum(before.paying.values())
    paid = [(amount, live.amounts.get(account, 0)) for account, amount in before.paying.items()]
    match slug:
        case "mrr":
            return format_micros(live.micros)
        case "arr":
            return format_micros(12 * live.micros)
        case "subscriptions":
            return live.subscriptions
        case "median_mrr":
            return format_micros(round(median(map(Fraction, live.paying.values())))) if customers else None
        case "customers":
            return customers
        case "arpa":
            return format_micros(divide_half_even(live.micros, customers)) if customers else None
        case "gross_revenue_retention":
            return ratio(sum(min(start, end) for start, end in paid), starters)
        case "net_revenue_retention":
            return ratio(sum(end for _, end in paid), starters)
        case "customer_churn_rate":
            return ratio(len(before.customers - live.customers), len(before.customers))
    raise AssertionError(slug)


def ratio(part: int, whole: int) -> str | None:
    return format_micros(divide_half_even(part * 1_000_000, whole)) if whole else None


def known_over(
    group: dict[str, str], sites: dict[UUID, Site], since: date, on: date
) -> tuple[bool, str | None, bool]:
    """Whether a figure is known on both days, why not, and whether it is complete."""
    before, last = knowledge_of(group, sites, since), knowledge_of(group, sites, on)
    return (True, None, before[2] and last[2]) if before[0] else before


def knowledge_of(group: dict[str, str], sites: dict[UUID, Site], on: date) -> tuple[bool, str | None, bool]:
    """Whether a figure is known on a day, why not, and whether it is complete."""
    product = group.get("product", "")
    owners = {
        group[name].partition(":")[0]
        for name in ("product_group", "customer_group", "promotion")
        if group.get(name, "unknown") != "unknown"
    }
    days = [
        site.days_of(kind)
        for site in sites.values()
        for kind in KINDS
        if group.get("kind", kind) == kind
        and group.get("instance", str(site.id)) == str(site.id)
        and (not product or f"{kind}:" in product)
        and (not product or kind == "domain" or str(site.id) in product)
        and owners <= {str(site.id)}
    ]
    begun = [span for span in days if span is not None and span[0] <= on]
    if not begun:
        return False, "before_first_sync" if any(days) else "not_permitted", False
    return True, None, len(begun) == len(days) and all(on < span[2] for span in begun)

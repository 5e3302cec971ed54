"""Every metric that the product shows: API, pages and exports read this list."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class Group(StrEnum):
    """What a figure can be split by."""

    KIND = "kind"
    PRODUCT = "product"
    CYCLE = "cycle"
    CURRENCY = "currency"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure. `good` is the direction that is good news; `additive` when the groups' values sum to the total."""

    slug: str
    title: str
    unit: Literal["money", "count"]
    good: Literal["up", "down"]
    additive: bool
    description: str


CATALOG: Final = (
    Metric("mrr", "MRR", "money", "up", True, "Monthly recurring revenue of all live subscriptions."),
    Metric("arr", "ARR", "money", "up", True, "Annual recurring revenue: 12 times the MRR."),
    Metric("customers", "Customers", "count", "up", False, "Customers with at least one live subscription."),
    Metric("subscriptions", "Subscriptions", "count", "up", True, "Live subscriptions."),
    Metric("arpa", "ARPA", "money", "up", False, "Average MRR per customer."),
)
BY_SLUG: Final = {metric.slug: metric for metric in CATALOG}

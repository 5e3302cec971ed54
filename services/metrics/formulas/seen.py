"""What syncs saw of one subscription: its states, its newest record, and the groups of its products."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from libs.common.calendar import day_of
from libs.common.contracts.billing import Kind
from services.metrics.formulas.evidence import (
    Dated,
    Observation,
    Reading,
    Subscription,
    Version,
    add_value,
    add_version,
    json_day,
    product_name_of,
    product_of,
)
from services.metrics.formulas.invoices import Item


@dataclass(slots=True)
class Seen:
    """The states of a subscription in the order of the syncs, the newest body that it had, and, by product, the groups of its products."""

    observations: list[Observation] = field(default_factory=list)
    body: Mapping[str, Any] = field(default_factory=dict)
    product_groups: dict[str, list[Dated]] = field(default_factory=dict)

    @property
    def customers(self) -> Collection[int]:
        """Return the customers that have or had the subscription."""
        return {observation.customer_id for observation in self.observations}

    @property
    def parent(self) -> Subscription | None:
        """Return the service of an addon."""
        parent_id = self.body.get("parent_id")
        return None if parent_id is None else Subscription(Kind.SERVICE.value, parent_id)

    def add(self, version: Version, readings: Sequence[Reading], time_zone: str) -> None:
        """Add what a version shows. Versions come in the order of the syncs."""
        add_version(self.observations, version, readings, time_zone)
        if version.body is None:
            return
        self.body = version.body
        group = version.body["product_group_name"]
        if group is not None:
            values = self.product_groups.setdefault(self.observations[-1].product, [])
            add_value(values, Dated(day_of(version.observed_at, time_zone), group))


def item_of(kind: str, body: Mapping[str, Any]) -> Item:
    """Return what links lines to the subscription with this body."""
    return Item(
        kind=kind,
        id=body["id"],
        customer_id=body["customer_id"],
        cycle=body["cycle"],
        recurring_micros=body["recurring_micros"],
        label=body["label"],
        product=product_of(Kind(kind), body),
        product_name=product_name_of(Kind(kind), body),
        registered_on=json_day(body["registered_on"]),
        promotion_id=body["promotion_id"],
        has_begun=_has_begun(body),
    )


def _has_begun(body: Mapping[str, Any]) -> bool:
    """Return whether a body may be that of a subscription which counted once. WHMCS moves the due date on each payment."""
    registered_on, next_due_on = json_day(body["registered_on"]), json_day(body["next_due_on"])
    if body["status"] == "fraud":
        return False
    if body["status"] in ("active", "suspended") or registered_on is None or next_due_on is None:
        return True
    return next_due_on > registered_on

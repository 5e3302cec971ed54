"""Which service an upgrade line is for. No id says it: its text does, if it fits exactly one service of the customer.

WHMCS writes "Upgrade/Downgrade: old product => new product", and in some versions the label of the service.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind
from services.metrics.formulas.date_formats import without_period
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.invoices import Item
from services.metrics.formulas.paid_lines import PaidLine

_ARROW: Final = "=>"
# Seats of a product: "Mailbox => Mailbox x 5".
_QUANTITY: Final = re.compile(r" x \d+$")


class Upgrade(NamedTuple):
    """An upgrade line, and the names that its text may give to the product before and after."""

    paid: PaidLine
    old: tuple[str, ...]
    new: tuple[str, ...]


class LinkedUpgrades(NamedTuple):
    """The upgrades of each service in the order of their payments, and the lines that fit no service or several."""

    of_service: Mapping[Subscription, list[Upgrade]]
    unlinked: list[PaidLine]


class _Moment(NamedTuple):
    """A day, and of two lines on it that which WHMCS wrote first."""

    on: date
    order: tuple[int, int]


class _Service(NamedTuple):
    """A service of a customer: its lines in order of the moments at which they were issued, and its record if it still exists."""

    subscription: Subscription
    issued: Sequence[_Moment]
    lines: Sequence[PaidLine]
    item: Item | None


def linked_upgrades(
    lines: Sequence[PaidLine],
    periods: Mapping[Subscription, list[PaidLine]],
    items: Mapping[Subscription, Item],
) -> LinkedUpgrades:
    """Return the upgrades that fit exactly one service of their customer."""
    by_customer: dict[int, list[Upgrade]] = defaultdict(list)
    for paid in lines:
        by_customer[paid.invoice.customer_id].append(_upgrade_of(paid))
    services = _services_of(by_customer.keys(), periods, items)
    linked: dict[Subscription, list[Upgrade]] = defaultdict(list)
    unlinked: list[PaidLine] = []
    for customer_id, upgrades in sorted(by_customer.items()):
        upgrades.sort(key=_paid)
        for index, upgrade in enumerate(upgrades):
            fitting = (
                service
                for service in _labelled(services[customer_id], upgrade)
                if _fits_before(service, upgrade, linked.get(service.subscription, ()))
                and _fits_after(service, upgrade, upgrades[index + 1 :])
            )
            # A reseller has thousands of services, and two that fit are as good as all.
            first_two = list(islice(fitting, 2))
            if len(first_two) == 1:
                linked[first_two[0].subscription].append(upgrade)
            else:
                unlinked.append(upgrade.paid)
    return LinkedUpgrades(linked, unlinked)


def _services_of(
    customers: Collection[int],
    periods: Mapping[Subscription, list[PaidLine]],
    items: Mapping[Subscription, Item],
) -> dict[int, list[_Service]]:
    """Return the services that each customer has or had."""
    services: dict[int, list[_Service]] = {customer_id: [] for customer_id in customers}
    if not services:
        return services
    for subscription in sorted({*periods, *items}):
        if subscription.kind != Kind.SERVICE:
            continue
        lines, item = sorted(periods.get(subscription, ()), key=_issued), items.get(subscription)
        owners = {paid.invoice.customer_id for paid in lines} | ({item.customer_id} if item else set())
        for customer_id in owners & services.keys():
            services[customer_id].append(_Service(subscription, [*map(_issued, lines)], lines, item))
    return services


def _upgrade_of(paid: PaidLine) -> Upgrade:
    lines = paid.line.description.splitlines()
    text = next((line for line in lines if _ARROW in line), "")
    before, _, after = (part.strip() for part in without_period(text).partition(_ARROW))
    # The word for "upgrade" before the first product, and the label or the new quantity after the second one, may be missing.
    old = (before, before.partition(": ")[2])
    new = (after, after.rpartition(" - ")[0], _QUANTITY.sub("", after))
    return Upgrade(paid, tuple(filter(None, old)), tuple(filter(None, new)))


def _labelled(services: Sequence[_Service], upgrade: Upgrade) -> Sequence[_Service]:
    """Return the services whose label the text of an upgrade shows, or all when it shows none."""
    words = set(upgrade.paid.line.description.replace("(", " ").replace(")", " ").split())
    shown = [service for service in services if service.item and service.item.label in words]
    return shown or services


def _fits_before(service: _Service, upgrade: Upgrade, earlier: Sequence[Upgrade]) -> bool:
    """Return whether a service had the old product: by its last upgrade or its last line.

    A service without lines until then, such as an imported one, may have had any product.
    """
    count = bisect_left(service.issued, _paid(upgrade))
    if earlier and (count == 0 or service.issued[count - 1] < _paid(earlier[-1])):
        return bool(set(earlier[-1].new) & set(upgrade.old))
    if count:
        return is_named(service.lines[count - 1].line.description, upgrade.old)
    item = service.item
    if item is None or not item.has_begun or item.registered_on is None:
        return False
    return item.registered_on <= _paid(upgrade).on


def _fits_after(service: _Service, upgrade: Upgrade, later: Sequence[Upgrade]) -> bool:
    """Return whether a service had the new product: by its next line or its record, perhaps after further upgrades."""
    index = bisect_left(service.issued, _paid(upgrade))
    following = service.issued[index] if index < len(service.issued) else None
    names = set(upgrade.new)
    for other in later:
        if names & set(other.old) and (following is None or _paid(other) < following):
            names |= set(other.new)
    if following is not None:
        return is_named(service.lines[index].line.description, names)
    return service.item is not None and is_named(service.item.product_name or "", names)


def _issued(paid: PaidLine) -> _Moment:
    """Return when WHMCS wrote a line: its description names the product of that day."""
    return _Moment(paid.invoice.issued_on or paid.invoice.due_on or date.min, paid.order)


def _paid(upgrade: Upgrade) -> _Moment:
    """Return when an upgrade was paid: the service had the new product from then on."""
    return _Moment(upgrade.paid.settlement.paid_on or date.min, upgrade.paid.order)


def is_named(description: str, names: Collection[str]) -> bool:
    """Return whether a description begins with one of the names of a product. A label may follow."""
    # Most descriptions begin with none of them, and to cut off the period takes much longer.
    if not description.startswith(tuple(names)):
        return False
    head = without_period(description)
    return any(head == name or head.startswith(f"{name} - ") for name in names)

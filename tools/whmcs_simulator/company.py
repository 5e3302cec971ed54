"""The hosting company: all its records as of its `today`, and how they change together."""

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from typing import Any

from tools.whmcs_simulator.catalogue import Catalogue, build_catalogue
from tools.whmcs_simulator.profiles import DEMO, Profile
from tools.whmcs_simulator.records import (
    KINDS,
    SECONDS_OF_A_DAY,
    Customer,
    Entry,
    Invoice,
    Kind,
    Order,
    Request,
    Subscription,
    Transaction,
    Upgrade,
    Version,
)


class Company:
    """All state of the company on its `today`. Only `life.advance` and `change.change` change it."""

    def __init__(self, seed: int, opened_on: int, profile: Profile = DEMO) -> None:
        self.seed = seed
        self.profile = profile
        self.today = opened_on
        self.random = random.Random(seed)  # noqa: S311 - a repeatable company, not a secret
        self.catalogue: Catalogue = build_catalogue()
        self.customers: dict[int, Customer] = {}
        self.services: dict[int, Subscription] = {}
        self.addons: dict[int, Subscription] = {}
        self.domains: dict[int, Subscription] = {}
        self.invoices: dict[int, Invoice] = {}
        self.transactions: dict[int, Transaction] = {}
        self.orders: dict[int, Order] = {}
        self.requests: dict[int, Request] = {}
        self.upgrades: dict[int, Upgrade] = {}
        self.log: list[Entry] = []
        self.deleted: list[Subscription] = []
        """Subscriptions whose rows were deleted: no answer has them, but past days count them."""
        self.agenda: defaultdict[int, list[tuple[str, Any]]] = defaultdict(list)
        """The events planned for a day: a name in `events.EVENTS`, and the argument of that event."""
        self.to_be_billed: defaultdict[tuple[int, int, bool], list[Subscription]] = defaultdict(list)
        """What one day bills together, by customer, due date, and whether the customer will pay."""
        self.sign_ups: dict[int, int] = {}
        self.sign_ups_per_day_later = 0.0
        self.grows_by_plan_until = opened_on
        self.domain_names: set[str] = set()
        self.revision = 0
        self._last_ids: defaultdict[str, int] = defaultdict(int)
        self._moment = 0

    def next_id(self, of: str) -> int:
        self._last_ids[of] += 1
        return self._last_ids[of]

    def last_id(self, of: str) -> int:
        return self._last_ids[of]

    def now(self) -> int:
        """Return the moment in seconds from day 0. Each call on a day returns a later moment than the last."""
        earliest = self.today * SECONDS_OF_A_DAY + 7_200
        self._moment = max(self._moment + 1, earliest)
        return self._moment

    def plan(self, day: int, event: str, about: Any) -> None:
        """Put an event on the agenda. An event for a past day happens today."""
        self.agenda[max(day, self.today)].append((event, about))

    @property
    def year(self) -> int:
        return date.fromordinal(self.today).year

    @property
    def first_of_month(self) -> int:
        return date.fromordinal(self.today).replace(day=1).toordinal()

    @property
    def first_of_year(self) -> int:
        return date.fromordinal(self.today).replace(month=1, day=1).toordinal()

    def rows(self, kind: Kind) -> dict[int, Subscription]:
        return {"service": self.services, "addon": self.addons, "domain": self.domains}[kind]

    def subscriptions(self) -> Iterator[Subscription]:
        for kind in KINDS:
            yield from self.rows(kind).values()

    def add_subscription(self, subscription: Subscription) -> None:
        self.rows(subscription.kind)[subscription.id] = subscription
        self.customers[subscription.customer_id].subscriptions.append(subscription)
        self.record_version(subscription)

    def record_version(self, subscription: Subscription) -> None:
        """Record how the subscription is from today on. Call it after every change of a subscription."""
        version = Version(
            self.today,
            subscription.customer_id,
            self.customers[subscription.customer_id].currency,
            subscription.product,
            subscription.status,
            subscription.recurring,
            subscription.cycle,
            subscription.registered_on,
            subscription.next_due_on,
            subscription.request is not None,
            subscription.renews,
        )
        versions = subscription.versions
        if versions and versions[-1].day == self.today:
            versions[-1] = version
        else:
            versions.append(version)

    def move(self, subscription: Subscription, to: Customer) -> None:
        """Give the subscription to another customer. Its invoices stay with the old one."""
        self.customers[subscription.customer_id].subscriptions.remove(subscription)
        subscription.customer_id = to.id
        to.subscriptions.append(subscription)
        self.record_version(subscription)

    def addons_of(self, service: Subscription) -> list[Subscription]:
        customer = self.customers[service.customer_id]
        return [s for s in customer.subscriptions if s.kind == "addon" and s.parent_id == service.id]

    def delete_subscription(self, subscription: Subscription) -> None:
        """Delete the row, so that no answer mentions it again."""
        subscription.status = "Deleted"
        self.record_version(subscription)
        self.deleted.append(subscription)
        del self.rows(subscription.kind)[subscription.id]
        self.customers[subscription.customer_id].subscriptions.remove(subscription)
        if subscription.request:
            del self.requests[subscription.request.id]
            subscription.request = None

    def delete_invoice(self, invoice: Invoice) -> None:
        del self.invoices[invoice.id]
        self.customers[invoice.customer_id].invoices.remove(invoice.id)

    def delete_customer(self, customer: Customer) -> None:
        """Delete the customer with its subscriptions, invoices and orders. WHMCS keeps transactions, so they stay."""
        for subscription in list(customer.subscriptions):
            self.delete_subscription(subscription)
        for invoice_id in list(customer.invoices):
            self.delete_invoice(self.invoices[invoice_id])
        self.orders = {id_: o for id_, o in self.orders.items() if o.customer_id != customer.id}
        del self.customers[customer.id]

    def write_log(self, customer_id: int, text: str) -> None:
        self.log.append(Entry(self.next_id("log"), self.now(), customer_id, text))

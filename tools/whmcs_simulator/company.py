"""The hosting company: who its customers are, what they have, what they were billed, and how all of it came to be.

Money is an integer number of hundredths of the currency's major unit (WHMCS keeps two decimals for every currency,
JPY too). Days are ordinals; moments are seconds counted from day 0.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, Literal, NamedTuple

from tools.whmcs_simulator.catalogue import Catalogue, build_catalogue
from tools.whmcs_simulator.cycles import months_of
from tools.whmcs_simulator.rounding import round_half_even

Habit = Literal["at_once", "when_due", "late", "sloppily"]
Kind = Literal["service", "addon", "domain"]
KINDS: Final[tuple[Kind, ...]] = ("service", "addon", "domain")

SECONDS_OF_A_DAY: Final = 86_400


class Version(NamedTuple):
    """What a subscription was from `day` on. The list of these is the memory that truth is computed from."""

    day: int
    customer_id: int
    currency: str
    product: str
    status: str
    recurring: int
    cycle: str
    registered_on: int
    next_due_on: int | None
    cancellation_requested: bool


@dataclass(slots=True)
class Customer:
    id: int
    first_name: str
    last_name: str
    company_name: str
    country: str
    city: str
    currency: str
    group_id: int
    gateway: str
    tax_per_mille: int
    """Value added tax that is put on this customer's invoices; 0 for companies abroad."""
    pays: Habit
    created_on: int
    status: str = "Active"
    credit: int = 0
    subscriptions: "list[Subscription]" = field(default_factory=list)
    invoices: list[int] = field(default_factory=list)
    transactions: list[int] = field(default_factory=list)
    credits: "list[Credit]" = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"


@dataclass(slots=True, eq=False)
class Subscription:
    kind: Kind
    id: int
    customer_id: int
    order_id: int
    product_id: int
    """The product of a service, the catalogue's addon (0: made by hand); unused for a domain."""
    name: str
    """Product name, addon name, or domain name."""
    label: str
    """The domain of a service; empty for the others."""
    cycle: str
    first: int
    recurring: int
    registered_on: int
    next_due_on: int | None
    gateway: str
    status: str = "Pending"
    parent_id: int = 0
    quantity: int = 1
    setup: int = 0
    promotion_id: int = 0
    discount: int = 0
    """What the promotion takes off each renewal; already taken off `recurring`."""
    discounted_renewals_left: int | None = None
    """None: for as long as the service runs."""
    price_is_by_hand: bool = False
    suspension_reason: str = ""
    never_suspend: bool = False
    renews: bool = True
    expires_on: int | None = None
    transfer: bool = False
    open_invoice: int = 0
    decided_for: int = 0
    """The due date whose renewal has been decided: invoiced, or not."""
    request: "Request | None" = None
    versions: list[Version] = field(default_factory=list)

    @property
    def months(self) -> int:
        return months_of(self.cycle)

    @property
    def tld(self) -> str:
        return self.name.partition(".")[2]

    @property
    def product(self) -> str:
        """The name under which truth sums this subscription's product."""
        if self.kind == "domain":
            return f"domain:{self.tld}"
        return f"{self.kind}:{self.product_id or self.name}"


@dataclass(slots=True)
class Request:
    """A cancellation request. It stays listed when it was carried out, and vanishes when it is withdrawn."""

    id: int
    service_id: int
    made_at: int
    immediate: bool
    reason: str


@dataclass(slots=True)
class Line:
    id: int
    type: str
    related_id: int
    text: str
    amount: int
    taxed: bool = True
    period_from: int = 0
    period_to: int = 0


@dataclass(slots=True)
class Invoice:
    id: int
    customer_id: int
    currency: str
    number: str
    issued_on: int
    due_on: int
    gateway: str
    tax_per_mille: int
    created_at: int
    updated_at: int
    status: str = "Unpaid"
    lines: list[Line] = field(default_factory=list)
    subtotal: int = 0
    tax: int = 0
    credit: int = 0
    paid_at: int = 0
    refunded_at: int = 0
    cancelled_at: int = 0
    captured_at: int = 0
    transactions: list[int] = field(default_factory=list)

    @property
    def total(self) -> int:
        """What is left to pay in money, after credit."""
        return self.subtotal + self.tax - self.credit

    def add_up(self) -> None:
        self.subtotal = sum(line.amount for line in self.lines)
        taxed = sum(line.amount for line in self.lines if line.taxed)
        self.tax = max(0, round_half_even(taxed * self.tax_per_mille, 1000))


@dataclass(slots=True)
class Transaction:
    id: int
    customer_id: int
    invoice_id: int
    at: int
    gateway: str
    description: str
    amount_in: int = 0
    fees: int = 0
    amount_out: int = 0
    refund_of: int = 0


@dataclass(slots=True)
class Credit:
    id: int
    day: int
    description: str
    amount: int
    related_id: int


@dataclass(slots=True)
class Order:
    id: int
    number: int
    customer_id: int
    at: int
    gateway: str
    promotion_id: int
    subscriptions: list[Subscription]
    amount: int = 0
    invoice_id: int = 0
    status: str = "Pending"


@dataclass(slots=True)
class Upgrade:
    id: int
    service_id: int
    product_id: int
    recurring: int


@dataclass(slots=True)
class Entry:
    """One line of the activity log."""

    id: int
    at: int
    customer_id: int
    text: str


class Company:
    """All state of the company on its `today`. `life` moves it on; nothing else changes it but `change`."""

    def __init__(self, seed: int, opened_on: int) -> None:
        self.seed = seed
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
        self.buried: list[Subscription] = []
        """Subscriptions whose rows were deleted: gone from every answer, still part of the past."""
        self.agenda: defaultdict[int, list[tuple[str, Any]]] = defaultdict(list)
        """What is to happen on a day: the name of an event in `life.EVENTS`, and what it is about."""
        self.to_be_billed: defaultdict[tuple[int, int, bool], list[Subscription]] = defaultdict(list)
        """Collected within a day: customer, due date and whether it will be paid."""
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
        """The moment, in seconds from day 0: within a day each call is later than the one before."""
        earliest = self.today * SECONDS_OF_A_DAY + 7_200
        self._moment = max(self._moment + 1, earliest)
        return self._moment

    def plan(self, day: int, event: str, about: Any) -> None:
        """Put an event on the agenda; one for the past happens today."""
        self.agenda[max(day, self.today)].append((event, about))

    @property
    def year(self) -> int:
        return date.fromordinal(self.today).year

    def rows(self, kind: Kind) -> dict[int, Subscription]:
        return {"service": self.services, "addon": self.addons, "domain": self.domains}[kind]

    def subscriptions(self) -> Iterator[Subscription]:
        for kind in KINDS:
            yield from self.rows(kind).values()

    def add_subscription(self, subscription: Subscription) -> None:
        self.rows(subscription.kind)[subscription.id] = subscription
        self.customers[subscription.customer_id].subscriptions.append(subscription)
        self.remember(subscription)

    def remember(self, subscription: Subscription) -> None:
        """Write down what the subscription is from today on. Called after every change of it."""
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
        )
        versions = subscription.versions
        if versions and versions[-1].day == self.today:
            versions[-1] = version
        else:
            versions.append(version)

    def move(self, subscription: Subscription, to: Customer) -> None:
        """To another customer; invoices stay where they are."""
        self.customers[subscription.customer_id].subscriptions.remove(subscription)
        subscription.customer_id = to.id
        to.subscriptions.append(subscription)
        self.remember(subscription)

    def addons_of(self, service: Subscription) -> list[Subscription]:
        customer = self.customers[service.customer_id]
        return [s for s in customer.subscriptions if s.kind == "addon" and s.parent_id == service.id]

    def delete_subscription(self, subscription: Subscription) -> None:
        """The row is gone, without a trace in any answer."""
        subscription.status = "Deleted"
        self.remember(subscription)
        self.buried.append(subscription)
        del self.rows(subscription.kind)[subscription.id]
        self.customers[subscription.customer_id].subscriptions.remove(subscription)
        if subscription.request:
            del self.requests[subscription.request.id]
            subscription.request = None

    def delete_invoice(self, invoice: Invoice) -> None:
        del self.invoices[invoice.id]
        self.customers[invoice.customer_id].invoices.remove(invoice.id)

    def delete_customer(self, customer: Customer) -> None:
        """The customer and all that hangs on it; transactions stay, as WHMCS keeps them."""
        for subscription in list(customer.subscriptions):
            self.delete_subscription(subscription)
        for invoice_id in list(customer.invoices):
            self.delete_invoice(self.invoices[invoice_id])
        self.orders = {id_: o for id_, o in self.orders.items() if o.customer_id != customer.id}
        del self.customers[customer.id]

    def write_log(self, customer_id: int, text: str) -> None:
        self.log.append(Entry(self.next_id("log"), self.now(), customer_id, text))

"""The records that the hosting company keeps: customers, subscriptions, invoices and what belongs to them.

Money is an integer number of hundredths of the currency's major unit (WHMCS keeps two decimals for every currency,
JPY too). Days are ordinals; moments are seconds counted from day 0.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from tools.whmcs_simulator.cycles import months_of
from tools.whmcs_simulator.rounding import round_half_even

Habit = Literal["at_once", "when_due", "late", "sloppily"]


Kind = Literal["service", "addon", "domain"]


KINDS: Final[tuple[Kind, ...]] = ("service", "addon", "domain")


SECONDS_OF_A_DAY: Final = 86_400


class Version(NamedTuple):
    """How a subscription was from `day` on. The true figures are computed from these versions."""

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
    renews: bool


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
    """The value added tax on this customer's invoices; 0 for companies abroad."""
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
    """The product of a service, or the catalogue's addon (0: made by hand). Domains do not use it."""
    name: str
    """The name of the product, of the addon, or the domain name."""
    label: str
    """The domain of a service; empty for addons and domains."""
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
    paid_in_part_until: int = 0
    """The end of a first period that is shorter than a cycle; later periods begin on its day of the month. 0: none."""
    promotion_id: int = 0
    discount: int = 0
    """The discount on each renewal. `recurring` is the price after it."""
    discounted_renewals_left: int | None = None
    """None: the discount never ends."""
    price_is_by_hand: bool = False
    suspension_reason: str = ""
    never_suspend: bool = False
    renews: bool = True
    expires_on: int | None = None
    transfer: bool = False
    open_invoice: int = 0
    decided_for: int = 0
    """The due date for which the customer has decided to renew or to end."""
    request: "Request | None" = None
    versions: list[Version] = field(default_factory=list)

    @property
    def months(self) -> int:
        return months_of(self.cycle)

    @property
    def anchor(self) -> int:
        """Return a day with the day of the month on which periods begin."""
        return self.paid_in_part_until or self.registered_on

    @property
    def tld(self) -> str:
        return self.name.partition(".")[2]

    @property
    def product(self) -> str:
        """Return the key of this subscription's product in the true figures."""
        if self.kind == "domain":
            return f"domain:{self.tld}"
        return f"{self.kind}:{self.product_id or self.name}"


@dataclass(slots=True)
class Request:
    """A cancellation request. It stays in the list after it was carried out; a withdrawn one is deleted."""

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
        """Return the amount to pay in money: subtotal and tax less credit."""
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
    quantity: int = 1


@dataclass(slots=True)
class Entry:
    """A line of the activity log."""

    id: int
    at: int
    customer_id: int
    text: str

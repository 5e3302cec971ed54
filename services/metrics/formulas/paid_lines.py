"""The lines of paid invoices by what they are: a period of a subscription, a discount on it, or an upgrade."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.invoices import BILLABLE_ITEM, Amount, Invoice, Line
from services.metrics.formulas.payments import Settlement, mass_payments, settlement
from services.metrics.formulas.taxes import IncludedTax, included_tax, net_amount

# What a line bills, by its type in lower case. `related_id` is the id of a row of that kind. Setup fees, late fees, extras of domains,
# deposits, mass payments and lines that were typed in bill no period.
_BILLED_KINDS: Final = {
    "hosting": Kind.SERVICE.value,
    "addon": Kind.ADDON.value,
    "domain": Kind.DOMAIN.value,
    "domainregister": Kind.DOMAIN.value,
    "domaintransfer": Kind.DOMAIN.value,
    "item": BILLABLE_ITEM,
}
# What a discount line reduces: the first of these kinds that the invoice bills under the same id.
_DISCOUNTED_KINDS: Final = {
    "promohosting": (Kind.SERVICE.value, Kind.ADDON.value),
    "promodomain": (Kind.DOMAIN.value,),
}
_UPGRADE: Final = "upgrade"


def types_that_bill(kind: str) -> list[str]:
    """Return the types of lines, in lower case, that bill a kind of subscription."""
    return [type for type, billed in _BILLED_KINDS.items() if billed == kind]


def kind_billed(type: str) -> str | None:
    """Return the kind of the rows that lines of a type, in lower case, bill; None when they bill no period."""
    return _BILLED_KINDS.get(type)


def billed_by(line: Line) -> Subscription | None:
    """Return the subscription that a line bills; None when it bills none."""
    kind = _BILLED_KINDS.get(line.type.lower())
    return None if kind is None or line.related_id is None else Subscription(kind, line.related_id)


class PaidLine(NamedTuple):
    """A line of a paid invoice. `net` is its amount without tax."""

    invoice: Invoice
    line: Line
    settlement: Settlement
    tax: IncludedTax
    net: Amount

    @property
    def order(self) -> tuple[int, int]:
        """Return a key that sorts lines as WHMCS wrote them."""
        return (self.invoice.id, self.line.id)

    @property
    def due_on(self) -> date | None:
        """Return the day on which the line was due."""
        return self.invoice.due_on or self.invoice.issued_on


class PaidLines(NamedTuple):
    """All lines that pay for subscriptions, each list as WHMCS wrote them. Nothing says which service an upgrade is for."""

    periods: Mapping[Subscription, list[PaidLine]]
    discounts: Mapping[Subscription, list[PaidLine]]
    upgrades: list[PaidLine]


def paid_lines(invoices: Iterable[Invoice], prices_include_tax: bool) -> PaidLines:
    """Return the lines of paid invoices whose lines are read."""
    ordered = sorted(invoices, key=lambda invoice: invoice.id)
    mass_paid = mass_payments(ordered)
    periods: dict[Subscription, list[PaidLine]] = defaultdict(list)
    discounts: dict[Subscription, list[PaidLine]] = defaultdict(list)
    upgrades: list[PaidLine] = []
    for invoice in ordered:
        paid = settlement(invoice, mass_paid)
        if paid is None or not invoice.lines:
            continue
        tax = included_tax(invoice, prices_include_tax)
        billed: set[Subscription] = set()
        # Discounts come last: only then it is clear what the invoice bills.
        for line in sorted(invoice.lines, key=_discounts_last):
            paid_line = PaidLine(invoice, line, paid, tax, net_amount(line, tax))
            kind = line.type.lower()
            if kind == _UPGRADE:
                upgrades.append(paid_line)
            elif line.related_id is None:
                continue
            elif kind in _BILLED_KINDS:
                subscription = Subscription(_BILLED_KINDS[kind], line.related_id)
                billed.add(subscription)
                periods[subscription].append(paid_line)
            elif (reduced := _reduced(kind, line.related_id, billed)) is not None:
                discounts[reduced].append(paid_line)
    return PaidLines(periods, discounts, upgrades)


def _discounts_last(line: Line) -> tuple[bool, int]:
    return (line.type.lower() in _DISCOUNTED_KINDS, line.id)


def _reduced(kind: str, related_id: int, billed: set[Subscription]) -> Subscription | None:
    candidates = (Subscription(name, related_id) for name in _DISCOUNTED_KINDS.get(kind, ()))
    return next((subscription for subscription in candidates if subscription in billed), None)

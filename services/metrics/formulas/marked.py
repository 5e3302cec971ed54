"""What dirty marks say: which customers must be computed whole, and of which customers only the subscriptions that some rows concern."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.paid_lines import kind_billed

_KINDS: Final = frozenset(kind.value for kind in SUBSCRIPTION_KINDS)
_UPGRADE: Final = "upgrade"
_MASS_PAYMENT: Final = "invoice"


class Row(NamedTuple):
    """A row of WHMCS that changed: a subscription or an invoice."""

    kind: str
    id: int


class Marked(NamedTuple):
    """A customer with dirty marks. `rows` are those that changed; None when anything of the customer may have changed."""

    customer_id: int
    rows: frozenset[Row] | None


class BillingLine(NamedTuple):
    """A line of an invoice in any of its versions; `type` is in lower case."""

    type: str
    related_id: int | None


class Work(NamedTuple):
    """What to compute: all of some customers, and single subscriptions of others."""

    customers: Collection[int]
    subscriptions: Collection[Subscription]


def marked_rows(rows: Collection[Row | None]) -> frozenset[Row] | None:
    """Return the rows that marks name; None when one of the marks names no row."""
    return None if None in rows else frozenset(row for row in rows if row is not None)


def invoices_in(marked: Iterable[Marked]) -> set[int]:
    """Return the invoices that the marks name."""
    return {row.id for customer in marked for row in customer.rows or () if row.kind == Kind.INVOICE}


def paid_by(lines: Iterable[BillingLine]) -> set[int]:
    """Return the invoices that lines of mass payments pay."""
    return {line.related_id for line in lines if line.type == _MASS_PAYMENT and line.related_id is not None}


def work_of(
    marked: Iterable[Marked],
    lines: Mapping[int, Collection[BillingLine]],
    mixed: Collection[int],
    upgraded: Collection[int],
) -> Work:
    """Return what the marked rows change. `lines` are those of the named invoices and of those that they pay.

    The customers `mixed` have invoices in several currencies: each of them may date a currency of all their subscriptions. The customers
    `upgraded` have upgrade lines. Such a line belongs to the only service that it fits, so it concerns all services.
    """
    whole: set[int] = set()
    single: set[Subscription] = set()
    for customer, rows in marked:
        # An invoice may bill subscriptions of others, so they are computed beside those of a whole customer.
        of_customer = {key for row in rows or () for key in _changed_by(row, lines)}
        single |= of_customer
        billed = [row.id for row in rows or () if row.kind == Kind.INVOICE]
        sells_upgrade = any(line.type == _UPGRADE for invoice in billed for line in lines.get(invoice, ()))
        changes_service = any(key.kind == Kind.SERVICE for key in of_customer)
        if (
            rows is None
            or sells_upgrade
            or (billed and customer in mixed)
            or (changes_service and customer in upgraded)
        ):
            whole.add(customer)
    return Work(whole, single)


def _changed_by(row: Row, lines: Mapping[int, Collection[BillingLine]]) -> Iterable[Subscription]:
    """Yield the subscriptions that a row concerns. An invoice concerns those that it bills, and as a mass payment those of others."""
    if row.kind != Kind.INVOICE:
        yield Subscription(row.kind, row.id)
        return
    of_row = lines.get(row.id, ())
    paid = (line for invoice in paid_by(of_row) for line in lines.get(invoice, ()))
    for line in (*of_row, *paid):
        kind = kind_billed(line.type)
        if kind in _KINDS and line.related_id is not None:
            yield Subscription(kind, line.related_id)

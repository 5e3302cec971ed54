"""The owner of a row, per kind: the row that leads to its customer.

A service names its customer. A cancellation request names a service, so its customer is that of the service. Follow owners until they are
customers to learn which customers a fact touches.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind


class Owner(NamedTuple):
    """The row that another row belongs to."""

    kind: Kind
    id: int


# Returns the owner that a row with this id and body has.
_Rule = Callable[[int, Mapping[str, Any]], Owner | None]


def _customer_named(_: int, body: Mapping[str, Any]) -> Owner | None:
    return Owner(Kind.CUSTOMER, body["customer_id"])


def _customer_with_this_id(row_id: int, _: Mapping[str, Any]) -> Owner | None:
    return Owner(Kind.CUSTOMER, row_id)


def _invoice_with_this_id(row_id: int, _: Mapping[str, Any]) -> Owner | None:
    return Owner(Kind.INVOICE, row_id)


def _service_named(_: int, body: Mapping[str, Any]) -> Owner | None:
    return Owner(Kind.SERVICE, body["service_id"])


def _customer_or_invoice_named(_: int, body: Mapping[str, Any]) -> Owner | None:
    if body["customer_id"] is not None:
        return Owner(Kind.CUSTOMER, body["customer_id"])
    return None if body["invoice_id"] is None else Owner(Kind.INVOICE, body["invoice_id"])


def _without_customer(_: int, __: Mapping[str, Any]) -> Owner | None:
    return None


OWNER_RULES: Final[Mapping[Kind, _Rule]] = {
    Kind.CUSTOMER: _customer_with_this_id,
    Kind.CUSTOMER_DETAIL: _customer_with_this_id,
    Kind.SERVICE: _customer_named,
    Kind.ADDON: _customer_named,
    Kind.DOMAIN: _customer_named,
    Kind.INVOICE: _customer_named,
    Kind.INVOICE_LINES: _invoice_with_this_id,
    Kind.TRANSACTION: _customer_or_invoice_named,
    Kind.CANCELLATION_REQUEST: _service_named,
    Kind.PRODUCT: _without_customer,
    Kind.CURRENCY: _without_customer,
    Kind.PROMOTION: _without_customer,
}

# Evidence on subscriptions, and on the group and country of their customer: each new version of these kinds may change figures.
EVIDENCE_KINDS: Final = (
    *SUBSCRIPTION_KINDS,
    Kind.CANCELLATION_REQUEST,
    Kind.CUSTOMER,
    Kind.CUSTOMER_DETAIL,
)
# Evidence on the days before the first sync. It changes figures once all of it was read, so until then it marks nobody.
HISTORY_KINDS: Final = (Kind.INVOICE, Kind.INVOICE_LINES)
# A mark names a row of these kinds: it changes the figures of one subscription, or of those that an invoice bills. Rows of the other kinds
# belong to one of these, or change all figures of their customer.
NAMED_KINDS: Final = (*SUBSCRIPTION_KINDS, Kind.INVOICE)


def owner_of(kind: Kind, row_id: int, body: Mapping[str, Any] | None) -> Owner | None:
    """Return the owner of a row; None for a tombstone, which has no body to name it, and for rows that belong to no customer."""
    return None if body is None else OWNER_RULES[kind](row_id, body)

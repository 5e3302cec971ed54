"""The kinds of records as people name them."""

from typing import Final

from libs.common.contracts.billing import Kind

# In the order in which a sync reads them.
_PLURALS: Final[dict[str, str]] = {
    Kind.CURRENCY: "currencies",
    Kind.PRODUCT: "products",
    Kind.PROMOTION: "promotions",
    Kind.CUSTOMER: "customers",
    Kind.INVOICE: "invoices",
    Kind.SERVICE: "services",
    Kind.ADDON: "addons",
    Kind.DOMAIN: "domains",
    Kind.CANCELLATION_REQUEST: "cancellation requests",
    Kind.CUSTOMER_DETAIL: "customer details",
    Kind.INVOICE_LINES: "invoice lines",
    Kind.TRANSACTION: "payments",
}
IN_ORDER: Final = tuple(_PLURALS)


def plural(kind: str) -> str:
    """Return `cancellation requests` for `cancellation_request`."""
    return _PLURALS.get(kind, kind.replace("_", " "))


def title(kind: str) -> str:
    """Return `Cancellation requests` for `cancellation_request`."""
    return plural(kind).capitalize()

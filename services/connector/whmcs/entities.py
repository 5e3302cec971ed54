"""One declaration per WHMCS action: how it is called, and which facts its rows become. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceSettings
from services.connector.whmcs import catalogue, customers, invoices, subscriptions
from services.connector.whmcs.answers import Row
from services.connector.whmcs.shapes import Translated

Translate = Callable[[Row, InstanceSettings], Translated]


@dataclass(frozen=True, slots=True)
class ListAction:
    """An action that returns many rows, under the keys `plural` and `singular` of its answer.

    Without a needed action, figures are missing. A paged action honours limitstart and limitnum; the others return all rows at once.
    An action with `max_invoices` is called only while the company has at most so many invoices.
    """

    kind: Kind
    action: str
    plural: str
    singular: str
    translate: Translate
    is_needed: bool = True
    is_paged: bool = True
    parameters: Mapping[str, str] = field(default_factory=dict)
    max_invoices: int | None = None
    id_field: str = "id"


@dataclass(frozen=True, slots=True)
class LookUp:
    """An action that returns the row with one id. The row is the object `key` of the answer, or else the answer itself.

    Without a needed action, figures are missing.
    """

    kind: Kind
    action: str
    id_parameter: str
    translate: Translate
    key: str = ""
    is_needed: bool = True

    def row(self, body: Row) -> Row:
        """Return the row in an answer."""
        row = body.get(self.key)
        return row if isinstance(row, dict) else body


# A run reads three lists at once, in this order: first the lists that name things, then customers and invoices, because the amounts of
# subscriptions need the currency of an invoice.
LISTS: Final = (
    ListAction(
        Kind.CURRENCY,
        "GetCurrencies",
        "currencies",
        "currency",
        catalogue.currency,
        is_needed=False,
        is_paged=False,
    ),
    ListAction(
        Kind.PRODUCT,
        "GetProducts",
        "products",
        "product",
        catalogue.product,
        is_paged=False,
        id_field="pid",
    ),
    ListAction(
        Kind.PROMOTION,
        "GetPromotions",
        "promotions",
        "promotion",
        catalogue.promotion,
        is_needed=False,
        is_paged=False,
    ),
    ListAction(
        Kind.CUSTOMER,
        "GetClients",
        "clients",
        "client",
        customers.customer,
        parameters={"orderby": "id", "sorting": "ASC"},
    ),
    ListAction(
        Kind.INVOICE,
        "GetInvoices",
        "invoices",
        "invoice",
        invoices.invoice,
        parameters={"orderby": "id", "order": "asc"},
    ),
    ListAction(Kind.SERVICE, "GetClientsProducts", "products", "product", subscriptions.service),
    ListAction(Kind.ADDON, "GetClientsAddons", "addons", "addon", subscriptions.addon, is_paged=False),
    ListAction(Kind.DOMAIN, "GetClientsDomains", "domains", "domain", subscriptions.domain),
    ListAction(
        Kind.CANCELLATION_REQUEST,
        "GetCancelledPackages",
        "packages",
        "package",
        subscriptions.cancellation_request,
    ),
)
LIST_OF: Final[Mapping[Kind, ListAction]] = {action.kind: action for action in LISTS}
# It has one answer for all rows, so a full run reads it only while the company has few invoices.
TRANSACTIONS: Final = ListAction(
    Kind.TRANSACTION,
    "GetTransactions",
    "transactions",
    "transaction",
    invoices.transaction,
    is_needed=False,
    is_paged=False,
    max_invoices=20_000,
)
CUSTOMER_DETAILS: Final = LookUp(
    Kind.CUSTOMER_DETAIL, "GetClientsDetails", "clientid", customers.customer_detail, key="client"
)
INVOICE_LINES: Final = LookUp(Kind.INVOICE_LINES, "GetInvoice", "invoiceid", invoices.invoice_lines)
LOOK_UPS: Final = (CUSTOMER_DETAILS, INVOICE_LINES)
ACTIONS: Final[Mapping[Kind, ListAction | LookUp]] = {
    action.kind: action for action in (*LISTS, TRANSACTIONS, *LOOK_UPS)
}
VERSION_ACTION: Final = "WhmcsDetails"
ACTIVITY_LOG: Final = "GetActivityLog"
# No WHMCS has so many rows. An id of 0 does not work: PHP treats "0" as empty, so WHMCS would report a missing parameter.
_ABSENT_ID: Final = 2_147_483_647
_ONE_ROW: Final = {"limitstart": 0, "limitnum": 1}


class Permission(NamedTuple):
    """An action that the API role must allow, or may allow if it is not needed. With these parameters its answer is small."""

    action: str
    parameters: Mapping[str, str | int]
    is_needed: bool = False


# Every action that a run needs or can use, the needed ones first. VERSION_ACTION is the one by which a check finds the API.
PERMISSIONS: Final = tuple(
    sorted(
        (
            *(Permission(call.action, {call.id_parameter: _ABSENT_ID}, call.is_needed) for call in LOOK_UPS),
            *(Permission(call.action, {**call.parameters, **_ONE_ROW}, call.is_needed) for call in LISTS),
            # Without the id of an invoice, WHMCS would send all transactions.
            Permission(TRANSACTIONS.action, {"invoiceid": _ABSENT_ID}),
            Permission(ACTIVITY_LOG, _ONE_ROW),
        ),
        key=lambda permission: not permission.is_needed,
    )
)

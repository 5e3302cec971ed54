"""One declaration per WHMCS action: how it is called, and which facts its rows become. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceSettings
from services.connector.whmcs import translate
from services.connector.whmcs.answers import Row

Translate = Callable[[Row, InstanceSettings], Any]


@dataclass(frozen=True, slots=True)
class ListAction:
    """An action that returns many rows, under the keys `plural` and `singular` of its answer.

    Without a needed action, figures are missing. A paged action honours limitstart and limitnum; the others return all rows at once.
    """

    kind: Kind
    action: str
    plural: str
    singular: str
    translate: Translate
    is_needed: bool = True
    is_paged: bool = True
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LookUp:
    """An action that returns the row with one id. Without a needed action, figures are missing."""

    kind: Kind
    action: str
    id_parameter: str
    is_needed: bool = True


def _plain(function: Callable[[Row], Any]) -> Translate:
    return lambda row, _: function(row)


# A run reads three lists at once, in this order: first the lists that name things, then customers and invoices, because the amounts of
# subscriptions need the currency of an invoice.
LISTS: Final = (
    ListAction(
        Kind.CURRENCY,
        "GetCurrencies",
        "currencies",
        "currency",
        _plain(translate.currency),
        is_needed=False,
        is_paged=False,
    ),
    ListAction(Kind.PRODUCT, "GetProducts", "products", "product", _plain(translate.product), is_paged=False),
    ListAction(
        Kind.PROMOTION,
        "GetPromotions",
        "promotions",
        "promotion",
        _plain(translate.promotion),
        is_needed=False,
        is_paged=False,
    ),
    ListAction(
        Kind.CUSTOMER,
        "GetClients",
        "clients",
        "client",
        lambda row, settings: translate.customer(row, store_names=settings.store_names),
        parameters={"orderby": "id", "sorting": "ASC"},
    ),
    ListAction(
        Kind.INVOICE,
        "GetInvoices",
        "invoices",
        "invoice",
        _plain(translate.invoice),
        parameters={"orderby": "id", "order": "asc"},
    ),
    ListAction(Kind.SERVICE, "GetClientsProducts", "products", "product", _plain(translate.service)),
    ListAction(Kind.ADDON, "GetClientsAddons", "addons", "addon", _plain(translate.addon), is_paged=False),
    ListAction(Kind.DOMAIN, "GetClientsDomains", "domains", "domain", _plain(translate.domain)),
    ListAction(
        Kind.CANCELLATION_REQUEST,
        "GetCancelledPackages",
        "packages",
        "package",
        _plain(translate.cancellation_request),
    ),
)
CUSTOMER_DETAILS: Final = LookUp(Kind.CUSTOMER_DETAIL, "GetClientsDetails", "clientid")
# No run reads these yet; the connection check asks whether they are allowed.
INVOICE_LINES: Final = LookUp(Kind.INVOICE_LINES, "GetInvoice", "invoiceid")
LOOK_UPS: Final = (CUSTOMER_DETAILS, INVOICE_LINES)
ACTIONS: Final[Mapping[Kind, ListAction | LookUp]] = {action.kind: action for action in (*LISTS, *LOOK_UPS)}
VERSION_ACTION: Final = "WhmcsDetails"

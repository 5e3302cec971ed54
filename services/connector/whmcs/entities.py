"""One declaration per list action: how it is asked for, and what its rows become."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceSettings
from services.connector.whmcs import translate

Translate = Callable[[dict[str, Any], InstanceSettings], Any]


@dataclass(frozen=True, slots=True)
class Entity:
    """A list action. `is_needed`: without it figures are missing; `is_paged`: it honours limitstart and limitnum."""

    kind: Kind
    action: str
    plural: str
    singular: str
    translate: Translate
    is_needed: bool = True
    is_paged: bool = True
    parameters: Mapping[str, str] = field(default_factory=dict)


def _plain(function: Callable[[dict[str, Any]], Any]) -> Translate:
    return lambda row, _: function(row)


# In this order: without invoices nobody knows in which currency a customer's subscriptions are.
ENTITIES: Final = (
    Entity(
        Kind.CURRENCY,
        "GetCurrencies",
        "currencies",
        "currency",
        _plain(translate.currency),
        is_needed=False,
        is_paged=False,
    ),
    Entity(Kind.PRODUCT, "GetProducts", "products", "product", _plain(translate.product), is_paged=False),
    Entity(
        Kind.PROMOTION,
        "GetPromotions",
        "promotions",
        "promotion",
        _plain(translate.promotion),
        is_needed=False,
        is_paged=False,
    ),
    Entity(
        Kind.CUSTOMER,
        "GetClients",
        "clients",
        "client",
        lambda row, settings: translate.customer(row, store_names=settings.store_names),
        parameters={"orderby": "id", "sorting": "ASC"},
    ),
    Entity(
        Kind.INVOICE,
        "GetInvoices",
        "invoices",
        "invoice",
        _plain(translate.invoice),
        parameters={"orderby": "id", "order": "asc"},
    ),
    Entity(Kind.SERVICE, "GetClientsProducts", "products", "product", _plain(translate.service)),
    Entity(Kind.ADDON, "GetClientsAddons", "addons", "addon", _plain(translate.addon), is_paged=False),
    Entity(Kind.DOMAIN, "GetClientsDomains", "domains", "domain", _plain(translate.domain)),
    Entity(
        Kind.CANCELLATION_REQUEST,
        "GetCancelledPackages",
        "packages",
        "package",
        _plain(translate.cancellation_request),
    ),
)
DETAILS_ACTION: Final = "GetClientsDetails"
LINES_ACTION: Final = "GetInvoice"
VERSION_ACTION: Final = "WhmcsDetails"

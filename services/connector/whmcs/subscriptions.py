"""From rows about services, addons, domains and cancellation requests to the bodies of their facts. Pure."""

from typing import Final

from libs.common.contracts.billing import CancellationRequestChanged, Kind, SubscriptionChanged
from libs.common.contracts.instances import InstanceSettings
from services.connector.whmcs import dates, fields
from services.connector.whmcs.answers import Row
from services.connector.whmcs.fields import UNKNOWN
from services.connector.whmcs.shapes import ID, Field, Shape, Translated, translate


def _defaults(kind: Kind) -> SubscriptionChanged:
    return {
        "id": 0,
        "kind": kind.value,
        "customer_id": 0,
        "parent_id": None,
        "product_id": None,
        "product_name": None,
        "product_group_name": None,
        "label": None,
        "status": UNKNOWN,
        "cycle": UNKNOWN,
        "cycle_text": "",
        "recurring_micros": 0,
        "first_payment_micros": None,
        "quantity": 1,
        "registered_on": None,
        "next_due_on": None,
        "expires_on": None,
        "renews": True,
        "promotion_id": None,
        "payment_method": None,
        "suspension_reason": None,
    }


_STATUS: Final = Field("status", "status", fields.status, "status")
_CYCLE: Final = Field("cycle", "billingcycle", fields.cycle, "billing cycle")
_OTHERS: Final = (
    Field("registered_on", "regdate", dates.day),
    Field("next_due_on", "nextduedate", dates.due_day),
    Field("payment_method", "paymentmethod", fields.shared_name),
)
_SERVICE: Final = Shape(
    _defaults(Kind.SERVICE),
    needed=(
        ID,
        Field("customer_id", "clientid", fields.row_id, "customer"),
        _STATUS,
        _CYCLE,
        Field("recurring_micros", "recurringamount", fields.micros, "amount"),
    ),
    others=(
        *_OTHERS,
        Field("product_id", "pid", fields.reference),
        Field("product_name", "name", fields.shared_name),
        Field("product_group_name", "groupname", fields.shared_name),
        Field("label", "domain", fields.name),
        Field("cycle_text", "billingcycle", fields.name_or_empty),
        Field("first_payment_micros", "firstpaymentamount", fields.micros_or_none),
        Field("quantity", "qty", fields.quantity),
        Field("promotion_id", "promoid", fields.reference),
        Field("suspension_reason", "suspensionreason", fields.text),
    ),
)
_ADDON: Final = Shape(
    _defaults(Kind.ADDON),
    needed=(
        ID,
        Field("customer_id", "userid", fields.row_id, "customer"),
        _STATUS,
        _CYCLE,
        Field("recurring_micros", "recurring", fields.micros, "amount"),
    ),
    others=(
        *_OTHERS,
        Field("parent_id", "serviceid", fields.reference),
        Field("product_id", "addonid", fields.reference),
        Field("product_name", "name", fields.shared_name),
        Field("cycle_text", "billingcycle", fields.name_or_empty),
        Field("quantity", "qty", fields.quantity),
    ),
)
_DOMAIN: Final = Shape(
    _defaults(Kind.DOMAIN),
    needed=(
        ID,
        Field("customer_id", "userid", fields.row_id, "customer"),
        _STATUS,
        Field("recurring_micros", "recurringamount", fields.micros, "amount"),
    ),
    others=(
        *_OTHERS,
        Field("label", "domainname", fields.host_name),
        # The amount covers `regperiod` years. Imported rows may have no period.
        Field("cycle", "regperiod", fields.years),
        Field("cycle_text", "regperiod", fields.years_text),
        Field("first_payment_micros", "firstpaymentamount", fields.micros_or_none),
        Field("expires_on", "expirydate", dates.day),
        Field("renews", "donotrenew", fields.falsehood),
        Field("promotion_id", "promoid", fields.reference),
    ),
)
_NO_REQUEST: Final[CancellationRequestChanged] = {
    "id": 0,
    "service_id": 0,
    "requested_at": None,
    "type": UNKNOWN,
    "reason": None,
}
_REQUEST: Final = Shape(
    _NO_REQUEST,
    needed=(ID, Field("service_id", "relid", fields.row_id, "service")),
    others=(
        Field("requested_at", "date", dates.moment),
        Field("type", "type", fields.status),
        Field("reason", "reason", fields.text),
    ),
)


def service(row: Row, _: InstanceSettings) -> Translated:
    """Translate a row of GetClientsProducts."""
    return translate(_SERVICE, row)


def addon(row: Row, _: InstanceSettings) -> Translated:
    """Translate a row of GetClientsAddons: the customer is `userid`, the amount `recurring`."""
    return translate(_ADDON, row)


def domain(row: Row, _: InstanceSettings) -> Translated:
    """Translate a row of GetClientsDomains."""
    return translate(_DOMAIN, row)


def cancellation_request(row: Row, _: InstanceSettings) -> Translated:
    """Translate a row of GetCancelledPackages: `relid` is the service."""
    return translate(_REQUEST, row)

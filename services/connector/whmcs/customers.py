"""From rows about clients to the bodies of customers and their details. Pure."""

from typing import Final

from libs.common.contracts.billing import CustomerChanged, CustomerDetailChanged
from libs.common.contracts.instances import InstanceSettings
from services.connector.whmcs import dates, fields
from services.connector.whmcs.answers import Row
from services.connector.whmcs.fields import UNKNOWN
from services.connector.whmcs.shapes import ID, Field, Shape, Translated, translate

_NO_CUSTOMER: Final[CustomerChanged] = {
    "id": 0,
    "status": UNKNOWN,
    "group_id": None,
    "display_name": None,
    "created_on": None,
}
_CUSTOMER: Final = Shape(
    _NO_CUSTOMER,
    needed=(ID, Field("status", "status", fields.status, "status")),
    others=(
        Field("group_id", "groupid", fields.reference),
        Field("display_name", "companyname", fields.text),
        Field("created_on", "datecreated", dates.day),
    ),
)
_NO_DETAIL: Final[CustomerDetailChanged] = {"id": 0, "currency": None, "country": None}
_DETAIL: Final = Shape(
    _NO_DETAIL,
    needed=(ID,),
    others=(
        Field("currency", "currency_code", fields.currency),
        Field("country", "countrycode", fields.country),
    ),
)


def customer(row: Row, settings: InstanceSettings) -> Translated:
    """Translate a row of GetClients. A company without a name shows as a person."""
    translated = translate(_CUSTOMER, row)
    content = translated.content
    if not settings.store_names:
        content["display_name"] = None
    elif content["display_name"] is None:
        content["display_name"] = fields.text(f"{row.get('firstname') or ''} {row.get('lastname') or ''}")
    return translated


def customer_detail(row: Row, _: InstanceSettings) -> Translated:
    """Translate the `client` object of GetClientsDetails. It has id and country under several names, of which some may be empty."""
    return translate(
        _DETAIL,
        {
            "id": _first(row, "id", "userid", "client_id"),
            "currency_code": row.get("currency_code"),
            "countrycode": _first(row, "countrycode", "country"),
        },
    )


def _first(row: Row, *columns: str) -> object:
    """Return the first value that PHP does not find empty; None when all are empty."""
    return next(
        (value for column in columns if (value := row.get(column)) and value not in ("0", "0.00")), None
    )

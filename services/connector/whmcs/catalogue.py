"""From rows about products, currencies and promotions to the bodies of their facts. Pure."""

from typing import Final, NamedTuple

from libs.common.contracts.billing import CurrencyRateChanged, Price, ProductChanged, PromotionChanged
from libs.common.contracts.instances import InstanceSettings
from services.connector.whmcs import fields
from services.connector.whmcs.answers import Row
from services.connector.whmcs.fields import UNKNOWN
from services.connector.whmcs.shapes import ID, Field, Shape, Translated, translate

# The column of the price of each cycle, and that of its setup fee.
_SETUP_COLUMNS: Final = {
    "monthly": "msetupfee",
    "quarterly": "qsetupfee",
    "semiannually": "ssetupfee",
    "annually": "asetupfee",
    "biennially": "bsetupfee",
    "triennially": "tsetupfee",
}
_NO_PRODUCT: Final[ProductChanged] = {
    "id": 0,
    "name": "",
    "group_id": None,
    "kind": "",
    "pay_type": "",
    "prices": {},
    "retired": False,
}
_PRODUCT: Final = Shape(
    _NO_PRODUCT,
    needed=(Field("id", "pid", fields.row_id, "id"),),
    others=(
        Field("name", "name", fields.name_or_empty),
        Field("group_id", "gid", fields.reference),
        Field("kind", "type", fields.name_or_empty),
        Field("pay_type", "paytype", fields.pay_type),
        Field("retired", "retired", fields.truth),
    ),
)
_NO_CURRENCY: Final[CurrencyRateChanged] = {"id": 0, "code": "", "rate": "0", "is_default": False}
_CURRENCY: Final = Shape(
    _NO_CURRENCY,
    needed=(
        ID,
        Field("code", "code", fields.currency_code, "code"),
        Field("rate", "rate", fields.rate, "rate"),
    ),
)
_NO_PROMOTION: Final[PromotionChanged] = {
    "id": 0,
    "code": "",
    "type": UNKNOWN,
    "recurring": False,
    "value": "0",
    "recurs_for": 0,
}
_PROMOTION: Final = Shape(
    _NO_PROMOTION,
    needed=(ID,),
    others=(
        Field("code", "code", fields.name_or_empty),
        Field("type", "type", fields.status),
        Field("recurring", "recurring", fields.truth),
        Field("value", "value", fields.decimal),
        Field("recurs_for", "recurfor", fields.whole_number),
    ),
)


class _Prices(NamedTuple):
    """Prices by currency code and cycle. They are not complete when some could not be read."""

    by_currency: dict[str, dict[str, Price]]
    is_complete: bool


def product(row: Row, _: InstanceSettings) -> Translated:
    """Translate a row of GetProducts, with the prices of its offered cycles per currency."""
    content, warnings = translate(_PRODUCT, row)
    prices = _prices(row.get("pricing") or {}, content["pay_type"])
    content["prices"] = prices.by_currency
    return Translated(content, warnings if prices.is_complete else (*warnings, "pricing"))


def _prices(pricing: object, pay_type: str) -> _Prices:
    by_currency: dict[str, dict[str, Price]] = {}
    is_complete = isinstance(pricing, dict)
    # WHMCS keeps the price of a one-time product in the column `monthly`.
    cycles = _SETUP_COLUMNS if pay_type == "recurring" else ("monthly",)
    for code, columns in pricing.items() if isinstance(pricing, dict) else ():
        try:
            offered = by_currency.setdefault(fields.currency_code(code), {})
        except ValueError:
            is_complete = False
            continue
        for cycle in cycles:
            try:
                price = _price(columns, cycle)
            except (ValueError, TypeError, AttributeError):
                is_complete = False
                continue
            if price is not None:
                offered["one_time" if pay_type == "one_time" else cycle] = price
    return _Prices(by_currency, is_complete)


def _price(columns: Row, cycle: str) -> Price | None:
    """Return the price of one cycle; None when it is not offered, which is what -1.00 means."""
    amount = fields.micros(columns.get(cycle, "-1.00"))
    if amount < 0:
        return None
    setup = fields.micros(columns.get(_SETUP_COLUMNS[cycle], "0.00"))
    return {"recurring_micros": amount, "setup_micros": max(0, setup)}


def currency(row: Row, _: InstanceSettings) -> Translated:
    """Translate a row of GetCurrencies. No field names the default: its rate is 1, and its id is usually the first."""
    translated = translate(_CURRENCY, row)
    content = translated.content
    content["is_default"] = content["id"] == 1 and float(content["rate"]) == 1
    return translated


def promotion(row: Row, _: InstanceSettings) -> Translated:
    """Translate a row of GetPromotions."""
    return translate(_PROMOTION, row)

"""The catalogue: products, addons, top level domains, promotions, currencies, client groups and gateways."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tools.whmcs_simulator.cycles import FREE, MONTHS, ONE_TIME

Prices = dict[str, dict[str, int]]
"""Hundredths by currency code and cycle. A missing cycle is not offered."""


@dataclass(frozen=True, slots=True)
class Currency:
    id: int
    code: str
    prefix: str
    suffix: str
    format: int
    rate: str
    price_step: int
    """Prices are multiples of this many hundredths: there is no tenth of a yen."""
    price_factor_percent: int


@dataclass(frozen=True, slots=True)
class ClientGroup:
    id: int
    name: str
    colour: str
    discount_percent: int
    suspension_exempt: bool = False


@dataclass(slots=True)
class Product:
    id: int
    group_id: int
    name: str
    type: str
    module: str
    pay_type: str
    prices: Prices
    weight: int
    """How often it is bought compared with the others. 0: it is retired, and GetProducts omits it."""
    setup: dict[str, int] = field(default_factory=dict)
    scales: bool = False
    """A service of it has several units, and its price is the sum of their prices."""


@dataclass(slots=True)
class CatalogueAddon:
    id: int
    name: str
    prices: Prices


@dataclass(slots=True)
class Tld:
    name: str
    weight: int
    yearly: dict[str, int]


@dataclass(frozen=True, slots=True)
class Promotion:
    id: int
    code: str
    type: str
    value: int
    recurring: bool = False
    renewals: int = 0
    """How many renewals a recurring promotion lasts beyond the first invoice; 0 is for ever."""
    starts_on: str = "0000-00-00"
    ends_on: str = "0000-00-00"
    weight: int = 0


@dataclass(slots=True)
class Catalogue:
    currencies: dict[str, Currency]
    client_groups: dict[int, ClientGroup]
    product_groups: dict[int, str]
    products: dict[int, Product]
    addons: dict[int, CatalogueAddon]
    tlds: dict[str, Tld]
    promotions: dict[int, Promotion]
    gateways: dict[str, str]


CURRENCIES: Final = (
    Currency(1, "EUR", "€", " EUR", 2, "1.00000", 1, 100),
    Currency(2, "USD", "$", " USD", 1, "1.08450", 1, 110),
    Currency(3, "GBP", "£", " GBP", 1, "0.84120", 1, 87),
    Currency(4, "JPY", "¥", " JPY", 1, "163.25000", 1000, 16000),
)

CLIENT_GROUPS: Final = (
    ClientGroup(1, "Agencies & Resellers", "#28C99B", 10),
    ClientGroup(2, "Non-profit", "#F2C14E", 0),
    ClientGroup(3, "Key accounts", "#4E79F2", 5, suspension_exempt=True),
)

PRODUCT_GROUPS: Final = {
    1: "Web Hosting",
    2: "WordPress & WooCommerce",
    3: "Reseller Hosting",
    4: "Cloud Servers",
    5: "Dedicated Servers",
    6: "E-mail & Office",
    7: "SSL Certificates",
    8: "Services",
}

# Name, group, weight, euro hundredths for a month, discount in percent on longer cycles, shortest cycle.
_RECURRING: Final = (
    ("Web Starter", 1, 26, 395, 15, "quarterly"),
    ("Web Plus", 1, 22, 795, 15, "monthly"),
    ("Web Business", 1, 12, 1495, 10, "monthly"),
    ("WordPress Launch", 2, 14, 995, 15, "monthly"),
    ("WordPress Growth & Care", 2, 7, 2995, 10, "monthly"),
    ("WooCommerce Shop", 2, 4, 4495, 10, "monthly"),
    ("Reseller Bronze", 3, 3, 1995, 10, "monthly"),
    ("Reseller Silver", 3, 2, 3995, 10, "monthly"),
    ("Cloud Server S", 4, 6, 1290, 5, "monthly"),
    ("Cloud Server M", 4, 4, 2490, 5, "monthly"),
    ("Cloud Server L", 4, 2, 4990, 5, "monthly"),
    ("Dedicated Server 16", 5, 1, 12900, 0, "monthly"),
    ("Business Mailbox", 6, 8, 250, 10, "monthly"),
)
_MODULES: Final = {
    1: "cpanel",
    2: "cpanel",
    3: "cpanel",
    4: "virtualizor",
    5: "autorelease",
    6: "openxchange",
}
_TYPES: Final = {1: "hostingaccount", 2: "hostingaccount", 3: "reselleraccount", 4: "server", 5: "server"}

_ADDONS: Final = (
    ("Daily Backups", 200, ("monthly", "quarterly", "annually")),
    ("Additional IPv4 Address", 300, ("monthly", "annually")),
    ("Managed Support", 2500, ("monthly", "quarterly")),
    ("Malware Scan & Removal", 495, ("monthly", "annually")),
)

_TLDS: Final = (
    ("com", 30, 1395),
    ("nl", 30, 895),
    ("eu", 10, 995),
    ("de", 9, 895),
    ("be", 6, 995),
    ("net", 5, 1495),
    ("org", 4, 1495),
    ("fr", 3, 1095),
    ("co.uk", 5, 895),
    ("jp", 1, 4500),
    ("shop", 2, 2995),
)

PROMOTIONS: Final = (
    Promotion(1, "WELCOME20", "Percentage", 20, weight=12),
    Promotion(2, "LOYAL10", "Percentage", 10, recurring=True, weight=4),
    Promotion(3, "HALFYEAR25", "Percentage", 25, recurring=True, renewals=6, weight=4),
    Promotion(4, "NONPROFIT", "Percentage", 100, recurring=True, weight=1),
    Promotion(5, "FIRSTMONTHS", "Percentage", 50, recurring=True, renewals=2, weight=3),
    Promotion(6, "NOSETUP", "Free Setup", 0, weight=1),
    Promotion(7, "BLACKFRIDAY", "Percentage", 40, starts_on="2023-11-20", ends_on="2023-11-30"),
    Promotion(8, "FIVEOFF", "Fixed Amount", 5, weight=1),
)

GATEWAYS: Final = {
    "mollie": "Credit Card & iDEAL",
    "paypalcheckout": "PayPal",
    "banktransfer": "Bank Transfer",
    "sepadirectdebit": "SEPA Direct Debit",
}


def build_catalogue() -> Catalogue:
    """Return a new catalogue: each company has its own, because prices rise."""
    products = [_recurring(index, *row) for index, row in enumerate(_RECURRING, 1)]
    products += [
        Product(
            14,
            7,
            "DV Certificate",
            "other",
            "",
            "recurring",
            _prices({"annually": 1900, "biennially": 3400}),
            5,
        ),
        Product(15, 7, "Wildcard Certificate", "other", "", "recurring", _prices({"annually": 11900}), 1),
        Product(16, 8, "Website Check-up", "other", "", "onetime", _prices({ONE_TIME: 14900}), 2),
        Product(17, 8, "Site Migration", "other", "", "onetime", _prices({ONE_TIME: 7900}), 2),
        Product(18, 1, "Parking Page", "hostingaccount", "cpanel", "free", _prices({FREE: 0}), 3),
        Product(
            19, 1, "Classic Hosting", "hostingaccount", "cpanel", "recurring", _prices({"annually": 4800}), 0
        ),
    ]
    addons = [
        CatalogueAddon(
            index, name, _prices({cycle: _for_months(month, MONTHS[cycle], 10) for cycle in cycles})
        )
        for index, (name, month, cycles) in enumerate(_ADDONS, 1)
    ]
    return Catalogue(
        currencies={currency.code: currency for currency in CURRENCIES},
        client_groups={group.id: group for group in CLIENT_GROUPS},
        product_groups=dict(PRODUCT_GROUPS),
        products={product.id: product for product in products},
        addons={addon.id: addon for addon in addons},
        tlds={name: Tld(name, weight, _in_each_currency(cents)) for name, weight, cents in _TLDS},
        promotions={promotion.id: promotion for promotion in PROMOTIONS},
        gateways=dict(GATEWAYS),
    )


def raise_prices(prices: Prices, percent: int) -> None:
    """Raise every price in place, rounded down to the price step of its currency."""
    for currency in CURRENCIES:
        for cycle, price in prices[currency.code].items():
            prices[currency.code][cycle] = _to_step(price * (100 + percent), 100, currency.price_step)


def _recurring(
    index: int, name: str, group: int, weight: int, month: int, discount_percent: int, shortest: str
) -> Product:
    cycles = {
        cycle: _for_months(month, months, discount_percent)
        for cycle, months in MONTHS.items()
        if months >= MONTHS[shortest]
    }
    setup = _in_each_currency(2500) if group in (4, 5) else {}
    scales = name == "Business Mailbox"
    return Product(
        index, group, name, _TYPES.get(group, "other"), _MODULES[group], "recurring", _prices(cycles), weight,
        setup, scales,
    )  # fmt: skip


def _for_months(month: int, months: int, discount_percent: int) -> int:
    return month * months * (100 - (discount_percent if months >= 12 else 0)) // 100


def _prices(euro: dict[str, int]) -> Prices:
    by_cycle = {cycle: _in_each_currency(cents) for cycle, cents in euro.items()}
    return {
        currency.code: {cycle: prices[currency.code] for cycle, prices in by_cycle.items()}
        for currency in CURRENCIES
    }


def _in_each_currency(euro: int) -> dict[str, int]:
    return {c.code: _to_step(euro * c.price_factor_percent, 100, c.price_step) for c in CURRENCIES}


def _to_step(numerator: int, denominator: int, step: int) -> int:
    return numerator // (denominator * step) * step


def weights(of: Iterable[Product | Tld | Promotion]) -> list[int]:
    return [row.weight for row in of]

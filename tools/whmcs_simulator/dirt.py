"""Dirty data: odd values that live installations have in some rows. Each is a switch, all are off at first.

Only the id of a row decides whether it is dirty and how, so the rows are the same in every answer. The company itself stays clean: once a
switch is off again, its rows are as before. A comment names the source of each: "reported" for what other people have
seen on live installations, the documentation of WHMCS, PHP or MySQL, and "inferred" for a guess.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from tools.whmcs_simulator.rows.formats import Row

# What a row loses: nothing that figures need, its place in figures, or itself.
Harm = Literal["none", "figure", "row"]

_SERVICES, _ADDONS, _DOMAINS = "getclientsproducts", "getclientsaddons", "getclientsdomains"
_CLIENTS, _DETAILS, _INVOICES, _INVOICE = "getclients", "getclientsdetails", "getinvoices", "getinvoice"
_PRODUCTS, _CURRENCIES, _PROMOTIONS = "getproducts", "getcurrencies", "getpromotions"
_REQUESTS, _TRANSACTIONS = "getcancelledpackages", "gettransactions"


@dataclass(frozen=True, slots=True)
class Dirt:
    """Odd values in one row of `one_in`, in these columns of each action. `write` gets the clean value and the id of the row.

    A column "items.amount" is in the rows of a list inside the row.
    """

    columns: Mapping[str, tuple[str, ...]]
    write: Callable[[Any, int], Any]
    one_in: int = 7
    harm: Harm = "none"


def _one_of(*values: Any) -> Callable[[Any, int], Any]:
    return lambda _, row_id: values[row_id % len(values)]


def _other_zero_date(value: Any, row_id: int) -> Any:
    """Return a zero date in another form, and other dates as they are."""
    is_zero = isinstance(value, str) and value.startswith("0000-00-00")
    return _ZERO_DATES[row_id % len(_ZERO_DATES)] if is_zero else value


def _with_separators(value: Any, row_id: int) -> Any:
    """Return a long amount with separators, as two formats of WHMCS's currencies write it."""
    if not isinstance(value, str) or len(value) < len("1000.00") or not value.isascii():
        return value
    written = f"{Decimal(value):,.2f}"
    return written if row_id % 2 else written.translate({ord(","): ".", ord("."): ","})


def _noise_in(value: Any, row_id: int) -> Any:
    """Return a text with characters that PostgreSQL does not store, or of a length that nobody shows."""
    return f"{value}\0 {value}" if row_id % 2 else f"{value} {'very ' * 400}long"


# Reported: these forms of "none". PHP: 0000-00-00 calculates to the year -1, and an empty time to 1970 (in zones behind UTC to 1969).
_ZERO_DATES: Final = (
    "00/00/0000",
    "00.00.0000 00:00",
    "00-00-0000",
    "-0001-11-30",
    "-0001-11-16",
    "1969-12-31",
    "1970-01-01",
    "",
    None,
)
_DESCRIPTIVE_DATES: Final = {
    _CLIENTS: ("datecreated",),
    _DOMAINS: ("expirydate",),
    _INVOICES: ("date_refunded", "date_cancelled", "updated_at"),
    _REQUESTS: ("created_at",),
}
_ALL_DATES: Final = {
    **_DESCRIPTIVE_DATES,
    _SERVICES: ("regdate", "nextduedate"),
    _ADDONS: ("regdate", "nextduedate"),
    _DOMAINS: ("regdate", "nextduedate", "expirydate"),
    _INVOICES: ("datepaid", "date_refunded", "date_cancelled", "updated_at"),
    _INVOICE: ("datepaid", "transactions.date"),
}
_SUBSCRIPTIONS: Final = (_SERVICES, _ADDONS, _DOMAINS)

DIRT: Final[dict[str, Dirt]] = {
    "zero_dates": Dirt(_ALL_DATES, _other_zero_date, one_in=1),
    # Reported: years 0 and 9999, and days that do not exist (MySQL stores them unless it is strict).
    "impossible_dates": Dirt(
        _DESCRIPTIVE_DATES, _one_of("2026-02-31", "0000-05-01", "9999-12-31", "31/12/2026", "soon")
    ),
    # Reported: `qty` "1.00". inferred: for addons, too.
    "decimal_quantities": Dirt(
        {_SERVICES: ("qty",), _ADDONS: ("qty",)}, lambda value, _: f"{value}.00", one_in=2
    ),
    # Reported: `promoid` -1. inferred: for domains, too.
    "negative_promotions": Dirt(
        {_SERVICES: ("promoid",), _DOMAINS: ("promoid",)},
        lambda value, _: value if value not in (0, "0", "") else -1,
        one_in=3,
    ),
    # Reported: `firstpaymentamount` "N/A".
    "amounts_not_available": Dirt(
        {_SERVICES: ("firstpaymentamount",), _DOMAINS: ("firstpaymentamount",)}, _one_of("N/A", "-", None)
    ),
    # WHMCS documentation, Currencies: the formats "1,234.56" and "1.234,56". inferred: hooks and imports store amounts so.
    "separators": Dirt(
        {
            _SERVICES: ("recurringamount", "firstpaymentamount"),
            _ADDONS: ("recurring",),
            _DOMAINS: ("recurringamount",),
            _INVOICES: ("subtotal", "total"),
            _INVOICE: ("items.amount",),
        },
        _with_separators,
        one_in=1,
    ),
    # PHP: an empty array is [] where an object is expected. inferred: for these fields.
    "empty_lists": Dirt(
        {_SERVICES: ("suspensionreason", "promoid"), _DOMAINS: ("donotrenew",), _DETAILS: ("countrycode",)},
        lambda value, _: value or [],
        one_in=2,
    ),
    # inferred: texts that customers and modules write.
    "noise_in_texts": Dirt(
        {
            _SERVICES: ("suspensionreason", "domain"),
            _INVOICES: ("invoicenum",),
            _INVOICE: ("items.description",),
            _REQUESTS: ("reason",),
            _PROMOTIONS: ("code",),
            _CLIENTS: ("companyname",),
        },
        _noise_in,
    ),
    # Client code, perlancar/perl-App-WHMCSUtils: modules write types of their own, like MG_DIS_CHARGE.
    "types_of_modules": Dirt({_INVOICE: ("items.type",)}, _one_of("MG_DIS_CHARGE", "CreditNote", "")),
    # inferred: prices of imported products.
    "odd_catalogue": Dirt(
        {_PRODUCTS: ("gid", "type", "pricing"), _PROMOTIONS: ("value", "recurfor", "type")},
        _one_of("N/A", {}, None),
    ),
    # WHMCS 9.0: credit and debit notes correct published invoices; how they show is not documented. inferred: statuses and sums.
    "notes_of_version_9": Dirt(
        {_INVOICES: ("status",)}, _one_of("Credited", "Credit Note", "Adjusted"), harm="figure"
    ),
    # Reported: a due date that is no date, and one without end.
    "no_due_dates": Dirt(
        dict.fromkeys(_SUBSCRIPTIONS, ("nextduedate",)),
        _one_of("2026-02-31", "00/00/0000", "-0001-11-30"),
        one_in=11,
        harm="figure",
    ),
    "endless_due_dates": Dirt(
        dict.fromkeys(_SUBSCRIPTIONS, ("nextduedate",)), _one_of("9999-12-31"), one_in=13, harm="figure"
    ),
    # Reported: status "" or null. inferred: statuses of a module.
    "no_statuses": Dirt(
        dict.fromkeys((*_SUBSCRIPTIONS, _CLIENTS, _INVOICES), ("status",)),
        _one_of("", None, "On Hold"),
        one_in=17,
        harm="figure",
    ),
    # WHMCS developer docs name eight cycles. inferred: modules add cycles.
    "odd_cycles": Dirt(
        {_SERVICES: ("billingcycle",), _ADDONS: ("billingcycle",), _DOMAINS: ("regperiod",)},
        _one_of("Fortnightly", "0", None),
        one_in=19,
        harm="figure",
    ),
    # inferred: what no rule can read, in each field that figures need.
    "no_ids": Dirt(
        dict.fromkeys((*_SUBSCRIPTIONS, _CLIENTS, _INVOICES, _REQUESTS, _TRANSACTIONS), ("id",)),
        _one_of("", "none", "99999999999999999999"),
        one_in=23,
        harm="row",
    ),
    "no_owners": Dirt(
        {
            _SERVICES: ("clientid",),
            **dict.fromkeys((_ADDONS, _DOMAINS, _INVOICES), ("userid",)),
            _REQUESTS: ("relid",),
        },
        _one_of("0", "", None),
        one_in=29,
        harm="row",
    ),
    "no_amounts": Dirt(
        {
            _SERVICES: ("recurringamount",),
            _ADDONS: ("recurring",),
            _DOMAINS: ("recurringamount",),
            _INVOICES: ("total",),
            _INVOICE: ("items.amount",),
            _TRANSACTIONS: ("amountin",),
        },
        _one_of("N/A", "1,234", "1e400", {}),
        one_in=31,
        harm="row",
    ),
    "unstorable_statuses": Dirt(
        dict.fromkeys((*_SUBSCRIPTIONS, _CLIENTS, _INVOICES), ("status",)),
        _one_of("Act\0ive", "x" * 300, ["Active"]),
        one_in=37,
        harm="row",
    ),
    "no_currencies": Dirt({_INVOICES: ("currencycode",)}, _one_of("", None, "X" * 40), one_in=41, harm="row"),
    "odd_rates": Dirt(
        {_CURRENCIES: ("rate",)}, _one_of("NaN", "Infinity", "1e300", "0.00000"), one_in=2, harm="row"
    ),
}


def soil(action: str, row: Row, row_id: int, switches: Collection[str]) -> Row:
    """Return the row with the dirt of the switches; the row is changed in place."""
    for name in switches:
        dirt = DIRT[name]
        if row_id % dirt.one_in == 0:
            for column in dirt.columns.get(action, ()):
                outer, _, inner = column.rpartition(".")
                for part in _parts(row, outer):
                    if inner in part:
                        part[inner] = dirt.write(part[inner], row_id)
    return row


def _parts(row: Row, outer: str) -> list[Row]:
    """Return the row itself, or the rows of a list inside it."""
    if not outer:
        return [row]
    wrapper = row.get(outer) or {}
    return [part for parts in wrapper.values() for part in parts]


def chosen(names: object) -> tuple[str, ...]:
    """Return the switches in a list of names, or in "all"; raise ValueError."""
    if names == "all":
        return tuple(DIRT)
    if not isinstance(names, list) or not set(names) <= DIRT.keys():
        raise ValueError(f'the switches are "all" or a list of {", ".join(DIRT)}; got {names!r}')
    return tuple(name for name in DIRT if name in names)

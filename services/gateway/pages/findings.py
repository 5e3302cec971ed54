"""What syncs found besides good records, in words: records and fields that could not be read, and records that are missing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind
from libs.common.contracts.failures import NOISE
from libs.common.contracts.sync import ANSWERS, UnreadableRows
from services.gateway.kinds import plural, title
from services.gateway.repository.records import NamedRecord
from services.gateway.standing import HeldKind

_REASONS: Final = {
    "too_many": "So many missing at once look like a lost permission or a wrong address, not like deleted records.",
    "list_empty": "WHMCS sent an empty list, although it had records before.",
    "ids_went_down": "The highest numbers in WHMCS went down, as after a backup was restored.",
}
# Pages of the admin area of WHMCS, in the folder that it has unless its owner renamed it.
_PAGES: Final[Mapping[str, str]] = {
    Kind.CUSTOMER: "clientssummary.php?userid=",
    Kind.CUSTOMER_DETAIL: "clientssummary.php?userid=",
    Kind.SERVICE: "clientsservices.php?id=",
    Kind.DOMAIN: "clientsdomains.php?id=",
    Kind.PRODUCT: "configproducts.php?action=edit&id=",
    Kind.INVOICE: "invoices.php?action=edit&id=",
    Kind.INVOICE_LINES: "invoices.php?action=edit&id=",
}
# Fields of WHMCS whose names are not words.
_FIELDS: Final[Mapping[str, str]] = {
    "billingcycle": "billing cycle",
    "companyname": "company name",
    "countrycode": "country",
    "datecreated": "date created",
    "datepaid": "date paid",
    "domainname": "domain",
    "donotrenew": "do not renew",
    "duedate": "due date",
    "expirydate": "expiry date",
    "firstpaymentamount": "first payment",
    "gid": "product group",
    "groupid": "client group",
    "groupname": "product group",
    "invoicenum": "invoice number",
    "nextduedate": "next due date",
    "paymentmethod": "payment method",
    "pid": "product",
    "promoid": "promotion",
    "qty": "quantity",
    "regdate": "registration date",
    "regperiod": "registration period",
    "serviceid": "service",
    "suspensionreason": "suspension reason",
    "taxrate": "tax rate",
    "taxrate2": "second tax rate",
}


class Row(NamedTuple):
    """An unreadable record: its number in WHMCS, why, and its page there. Number and address are None when they are not known."""

    number: int | None
    reason: str
    href: str | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The unreadable records of a kind. `rows` are the first of them, and `unlisted` are only counted."""

    kind: str
    title: str
    count: int
    rows: tuple[Row, ...]
    unlisted: int


class Missing(NamedTuple):
    """A missing record, such as `Service 17`, and its page in WHMCS; None where that is not known."""

    name: str
    href: str | None


class Held(NamedTuple):
    """Records of a kind that wait for a decision: how many are missing, and why they are not removed at once."""

    kind: str
    sentence: str
    reason: str


def unreadable_of(kinds: Mapping[str, UnreadableRows], address: str | None) -> Iterator[Unreadable]:
    """Yield the unreadable records by kind, with links into the WHMCS at this address."""
    for kind, listed in sorted(kinds.items()):
        rows = tuple(Row(row.id, row.reason, link(address, kind, row.id)) for row in listed.rows)
        yield Unreadable(kind, title(kind), listed.count, rows, listed.count - len(rows))


def warnings_of(kinds: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return `Invoices: due date (12), paid time (3)` for each kind with fields that could not be read."""
    return [
        f"{title(kind)}: {', '.join(f'{_field(name)} ({count:,})' for name, count in sorted(fields.items()))}"
        for kind, fields in sorted(kinds.items())
        if kind != ANSWERS
    ]


def noise_of(kinds: Mapping[str, Mapping[str, int]]) -> str | None:
    """Return what to do about text around the answers of WHMCS; None when there was none."""
    return NOISE if ANSWERS in kinds else None


def held_of(kinds: Mapping[str, HeldKind]) -> list[Held]:
    """Return the records that wait for a decision, by kind."""
    return [
        Held(kind, held_sentence(kind, held.count, held.total), _REASONS.get(held.reason, ""))
        for kind, held in sorted(kinds.items())
    ]


def missing_of(kind: str, ids: Iterable[int], address: str) -> list[Missing]:
    """Return the missing records of a kind, with links into the WHMCS at this address."""
    return [Missing(_title_of(kind, id), link(address, kind, id)) for id in ids]


def accepted_of(records: Iterable[NamedRecord], address: str | None) -> list[Missing]:
    """Return the records whose deletion was accepted, such as `Service 17: Hosting, Ada Lovelace`."""
    return [
        Missing(
            f"{_title_of(record.kind, record.id)}{f': {record.name}' if record.name else ''}",
            link(address, record.kind, record.id),
        )
        for record in records
    ]


def held_sentence(kind: str, count: int, total: int) -> str:
    """Return how many records of a kind are missing, and what happens to them."""
    verb = "is" if count == 1 else "are"
    pronoun = "it" if count == 1 else "them"
    return (
        f"{count:,} of {total:,} {plural(kind)} {verb} missing in WHMCS. We keep {pronoun} until you decide."
    )


def link(address: str | None, kind: str, number: int | None) -> str | None:
    """Return the address of a record in the admin area of WHMCS; None when it is not known."""
    if address is None or number is None or kind not in _PAGES:
        return None
    return f"{address.rstrip('/')}/admin/{_PAGES[kind]}{number}"


def _title_of(kind: str, id: int) -> str:
    return f"{kind.replace('_', ' ').capitalize()} {id}"


def _field(name: str) -> str:
    return _FIELDS.get(name, name.replace("_", " "))

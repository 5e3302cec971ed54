"""Subscriptions that may end soon, and their sums, as pages show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from libs.common.contracts.money import format_micros, parse_micros
from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.customers import CustomerId
from libs.common.figures.end_list import EndSelection, ExpectedEnd
from libs.common.figures.end_parts import EndPart
from libs.common.figures.groups import Group, limits_of
from services.gateway.context import Context
from services.gateway.figures import customer_records, expected_ends
from services.gateway.pages.amounts import number
from services.gateway.pages.filters import Filters
from services.gateway.principals import Principal

_FIRST: Final = 5
# By the breakdowns of both figures.
_PARTS: Final = {
    "suspended": "suspended, but paid ahead",
    "1_7": "1 to 7 days overdue",
    "8_14": "8 to 14 days overdue",
    "15": "15 days overdue or more",
    "30": "ends within 30 days",
    "90": "ends within 31 to 90 days",
    "later": "ends later",
    "past_due": "not to renew, and past due",
}


class Part(NamedTuple):
    """An amount of a sum, exact and for reading."""

    words: str
    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Sums:
    """A figure with its parts that are not 0."""

    slug: str
    title: str
    value: str
    text: str
    parts: tuple[Part, ...]


class Row(NamedTuple):
    """A subscription that may end soon. `mrr` is exact, `text` is for reading."""

    name: str
    href: str
    product: str
    what: str
    ends_on: date
    mrr: str
    text: str
    currency: str


@dataclass(frozen=True, slots=True)
class LeavingPanel:
    """The sums of both figures, and the first subscriptions to end: none for people who may not see customers."""

    sums: list[Sums]
    rows: list[Row]
    href: str


def sums_of(figure: Figure, currency: str) -> Sums:
    """Return a figure, which is grouped by currency and split into its parts, in one currency."""
    amounts = {
        part: str(series.points[-1].value)
        for series in figure.series
        for part in series.group.values()
        if part in _PARTS and series.group["currency"] == currency
        if series.points and series.points[-1].value is not None
    }
    total = format_micros(sum(parse_micros(value) for value in amounts.values()))
    parts = (
        Part(_PARTS[part], value, number(value, currency))
        for part, value in amounts.items()
        if parse_micros(value)
    )
    return Sums(figure.metric, BY_SLUG[figure.metric].title, total, number(total, currency), tuple(parts))


async def leaving_panel(
    context: Context, principal: Principal, filters: Filters, figures: Sequence[Figure], currency: str
) -> LeavingPanel:
    """Return what the overview shows in one currency."""
    listed = []
    if principal.may("customers:read"):
        listed = await expected_ends(
            context,
            principal,
            EndSelection(tuple(EndPart), limits_of({} if filters.target else {Group.CURRENCY: [currency]})),
            None,
            _FIRST,
            lens=filters.counting,
            instance_ids=[filters.instance_id] if filters.instance_id else [],
        )
    return LeavingPanel(
        sums=[sums_of(figure, currency) for figure in figures],
        rows=await end_rows(context, principal, filters, listed),
        href=f"{principal.home}/leaving{filters.address_with(None if filters.target else currency)}",
    )


async def end_rows(
    context: Context, principal: Principal, filters: Filters, listed: Sequence[ExpectedEnd]
) -> list[Row]:
    """Return subscriptions as a list shows them, with the names of their customers."""
    keys = [CustomerId(row.instance_id, row.customer_id) for row in listed]
    records = await customer_records(context, principal, list(dict.fromkeys(keys)))
    names = {key: record.name for key, record in records.items() if record.name}
    return [
        Row(
            name=names.get(key, f"Customer {row.customer_id}"),
            href=f"{principal.home}/customers/{row.instance_id}/{row.customer_id}{filters.address_with(None)}",
            product=row.product_name or row.product.rpartition(":")[2],
            what=what_of(row),
            ends_on=row.ends_on,
            mrr=row.mrr,
            text=number(row.mrr, row.currency),
            currency=row.currency,
        )
        for row, key in zip(listed, keys, strict=True)
    ]


def what_of(row: ExpectedEnd) -> str:
    """Return in words why a subscription may end, such as `3 days overdue, suspended`."""
    overdue = (
        f"{row.days_overdue:,} day{'' if row.days_overdue == 1 else 's'} overdue" if row.days_overdue else ""
    )
    suspended = "suspended" if row.status == "suspended" else ""
    requested = "not to renew" if row.is_requested else ""
    return ", ".join(filter(None, (requested, overdue, suspended)))

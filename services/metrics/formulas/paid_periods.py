"""The periods that customers paid for, from the lines of their invoices. Days before the first sync are computed from them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from fractions import Fraction
from typing import Final, NamedTuple

from libs.common.contracts.billing import NOT_OFFERED_MICROS, Kind, cycle_months
from libs.common.contracts.money import divide_half_even
from services.metrics.formulas.billable_items import dated_items
from services.metrics.formulas.date_formats import without_period
from services.metrics.formulas.dating import Dated, dated_lines
from services.metrics.formulas.discounts import with_discounts
from services.metrics.formulas.evidence import NO_TAX, Subscription
from services.metrics.formulas.invoices import (
    BILLABLE_ITEM,
    Invoice,
    Item,
    LineIssue,
    LineRules,
    PaidPeriod,
)
from services.metrics.formulas.overlaps import merged, without_overlaps
from services.metrics.formulas.paid_lines import PaidLine, PaidLines, paid_lines
from services.metrics.formulas.pro_rata import with_prices
from services.metrics.formulas.upgrade_links import Upgrade, linked_upgrades
from services.metrics.formulas.upgrades import with_upgrades

_TOO_LARGE: Final = 2**63


class UnlinkedLine(NamedTuple):
    """An upgrade line that fits no service of its customer, or several."""

    customer_id: int
    invoice_id: int
    line_id: int


class PaidPeriods(NamedTuple):
    """The paid periods of each subscription in order of days, and what was wrong with its lines, in alphabetical order."""

    of_subscription: Mapping[Subscription, tuple[PaidPeriod, ...]]
    issues: Mapping[Subscription, tuple[LineIssue, ...]]
    unlinked: tuple[UnlinkedLine, ...]


class _Result(NamedTuple):
    periods: tuple[PaidPeriod, ...]
    issues: tuple[LineIssue, ...]


def paid_periods(invoices: Iterable[Invoice], items: Iterable[Item], rules: LineRules) -> PaidPeriods:
    """Return what the lines of paid invoices pay for. The order of invoices and items is without effect.

    `invoices` are all invoices that bill the items or belong to their customers. A subscription whose record WHMCS has deleted has periods,
    too. No two periods of a subscription overlap.
    """
    records = {Subscription(item.kind, item.id): item for item in items}
    lines = paid_lines(invoices, rules.prices_include_tax)
    upgrades = linked_upgrades(lines.upgrades, lines.periods, records)
    results = {
        subscription: _result(
            subscription, lines, records.get(subscription), upgrades.of_service.get(subscription, ()), rules
        )
        for subscription in sorted({*records, *lines.periods})
    }
    return PaidPeriods(
        {subscription: result.periods for subscription, result in results.items() if result.periods},
        {subscription: result.issues for subscription, result in results.items() if result.issues},
        tuple(
            UnlinkedLine(paid.invoice.customer_id, paid.invoice.id, paid.line.id)
            for paid in upgrades.unlinked
        ),
    )


def _result(
    subscription: Subscription,
    lines: PaidLines,
    item: Item | None,
    upgrades: Iterable[Upgrade],
    rules: LineRules,
) -> _Result:
    billed = lines.periods.get(subscription, [])
    discounts = lines.discounts.get(subscription, [])
    offered = [paid for paid in billed if paid.line.amount_micros != NOT_OFFERED_MICROS]
    reduced = with_discounts(offered, discounts, item, rules.promotions)
    is_item = subscription.kind == BILLABLE_ITEM
    dated = dated_items(reduced) if is_item else dated_lines(reduced, item, rules.date_order)
    priced = with_prices(merged(dated.lines), item)
    kept = without_overlaps(with_upgrades(priced, tuple(upgrades), item))
    periods = tuple(_period(line, subscription.kind, rules) for line in kept)
    storable = tuple(period for period in periods if _can_be_stored(period))
    issues = {*dated.issues, *_issues(billed, item)}
    if len(storable) < len(periods):
        issues.add(LineIssue.AMOUNT_TOO_LARGE)
    return _Result(storable, tuple(sorted(issues)))


def _can_be_stored(period: PaidPeriod) -> bool:
    """Return whether the amounts fit into a bigint. Sums and shares of amounts that WHMCS accepts may be larger."""
    return max(abs(period.mrr_micros), abs(period.amount_micros)) < _TOO_LARGE


def _issues(billed: list[PaidLine], item: Item | None) -> Iterator[LineIssue]:
    if any(paid.line.amount_micros == NOT_OFFERED_MICROS for paid in billed):
        yield LineIssue.AMOUNT_NOT_OFFERED
    if not all(paid.tax.is_known for paid in billed):
        yield LineIssue.TAX_RATE_UNKNOWN
    if not billed and item is not None and item.recurring_micros > 0 and cycle_months(item.cycle):
        yield LineIssue.NO_LINE


def _period(line: Dated, kind: str, rules: LineRules) -> PaidPeriod:
    paid_on, refunded_on = line.paid.settlement
    grace = timedelta(days=rules.definitions.grace_days(kind))
    is_late = paid_on is not None and paid_on > line.from_on + grace
    name = _product_name(line, rules.products) if kind == Kind.SERVICE else None
    return PaidPeriod(
        from_on=line.from_on,
        to_on=line.to_on,
        mrr_micros=_mrr_micros(line),
        amount_micros=round(line.paid.net),
        counts_from=paid_on if paid_on is not None and is_late else line.from_on,
        customer_id=line.paid.invoice.customer_id,
        currency=line.paid.invoice.currency,
        invoice_id=line.paid.invoice.id,
        line_id=line.paid.line.id,
        issued_on=line.paid.invoice.issued_on,
        paid_on=paid_on,
        refunded_on=refunded_on,
        cycle_months=Fraction(line.cycle),
        product=None if name is None else rules.products[name],
        product_name=name,
        change=line.change,
        is_rough=line.is_rough,
        tax_divisor=line.paid.tax.divisor if line.paid.line.is_taxed else NO_TAX,
    )


def _mrr_micros(line: Dated) -> int:
    """Return the MRR of a line, rounded half to even. Whole micros over whole months need no fractions, which are slow."""
    if line.price is None and isinstance(line.paid.net, int) and isinstance(line.months, int):
        return divide_half_even(line.paid.net, line.months)
    return round(line.mrr)


def _product_name(line: Dated, products: Mapping[str, str]) -> str | None:
    """Return the product that a description begins with: all of it, or what is before one of its dashes."""
    if line.products:
        return next((name for name in line.products if name in products), None)
    head = without_period(line.paid.line.description)
    while head not in products:
        head, dash, _ = head.rpartition(" - ")
        if not dash:
            return None
    return head

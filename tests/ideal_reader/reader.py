"""The rules of a subscription's history, one after another: see docs/metrics.md."""

from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

from tests.ideal_reader.periods import GRACE, Period, periods_of
from tests.ideal_reader.shown import Key, Row, Shown, monthly
from tests.ideal_reader.upgrades import Upgrade, upgrades_of

DAY = timedelta(days=1)


class Stretch(NamedTuple):
    """The days from `from_on` up to but not `to_on` on which a subscription had this MRR; `to_on` is tomorrow while it counts."""

    key: Key
    customer_id: int
    currency: str
    mrr_micros: int
    from_on: date
    to_on: date


def history(shown: Shown) -> list[Stretch]:
    """Return the stretches of all subscriptions, for each by day."""
    keys = sorted({*shown.rows, *shown.billed})
    periods = {key: periods_of(shown, key) for key in keys}
    upgrades = upgrades_of(shown, periods)
    return [
        stretch for key in keys for stretch in _stretches(shown, key, periods[key], upgrades.get(key, []))
    ]


def _stretches(shown: Shown, key: Key, periods: list[Period], upgrades: list[Upgrade]) -> list[Stretch]:
    row = shown.rows.get(key)
    if row and row.status == "Fraud":
        return []
    end = _end(shown, row, periods)
    begun = [period for period in periods if period.counts_from <= shown.today]
    stretches: list[Stretch] = []
    for number, (period, following) in enumerate(pairwise([*begun, None])):
        assert period
        from_on = period.counts_from
        if number == 0 and row and row.registered_on < period.from_on:
            from_on = row.registered_on
        to_on = min(period.until + GRACE + DAY, end)
        if following:
            to_on = min(to_on, following.counts_from)
        invoice = period.invoice
        stretches.append(
            Stretch(key, invoice.customer_id, invoice.currency, period.mrr_micros, from_on, to_on)
        )
    for upgrade in upgrades:
        stretches = [part for stretch in stretches for part in _upgraded(stretch, upgrade)]
    if row and _counts_at_all(row):
        stretches = _with_record(shown, row, stretches, end, upgrades)
    return [s for s in _joined(stretches) if s.mrr_micros]


def _counts_at_all(row: Row) -> bool:
    """Return whether the record has a price and was ever paid, or is still within the grace of its first due date."""
    was_paid = row.next_due_on is not None and row.next_due_on > row.registered_on
    return bool(row.months and row.recurring_micros not in (0, -1_000_000)) and (was_paid or _is_live(row))


def _is_live(row: Row) -> bool:
    return row.status in (("Active", "Grace") if row.key[0] == "domain" else ("Active", "Suspended"))


def _with_record(
    shown: Shown, row: Row, stretches: list[Stretch], end: date, upgrades: list[Upgrade]
) -> list[Stretch]:
    """Return the stretches with the record's own: it covers today, or all time when no line names the subscription."""
    assert row.months
    tomorrow = shown.today + DAY
    mrr = monthly(row.recurring_micros, row.months)
    currency = shown.currencies.get(row.customer_id)
    if currency is None:
        return []
    record = Stretch(row.key, row.customer_id, currency, mrr, row.registered_on, min(end, tomorrow))
    if not stretches:
        return [record] if record.from_on < record.to_on else []
    if end < tomorrow:
        return stretches
    # It carries the record's amount from its own start.
    from_on = max([stretches[-1].from_on, *(upgrade.on for upgrade in upgrades if upgrade.on <= shown.today)])
    return [
        *(s._replace(to_on=min(s.to_on, from_on)) for s in stretches if s.from_on < from_on),
        record._replace(from_on=from_on),
    ]


def _upgraded(stretch: Stretch, upgrade: Upgrade) -> list[Stretch]:
    """Return a stretch, or its parts before and after an upgrade. It is a bill to its customer, too."""
    if upgrade.on >= stretch.to_on or (upgrade.until and upgrade.until <= stretch.from_on):
        return [stretch]
    if upgrade.on < stretch.from_on:
        return [stretch._replace(mrr_micros=upgrade.mrr_micros)]
    invoice = upgrade.invoice
    after = Stretch(
        stretch.key,
        invoice.customer_id,
        invoice.currency,
        upgrade.mrr_micros,
        upgrade.on,
        stretch.to_on,
    )
    return [stretch._replace(to_on=upgrade.on), after]


def _end(shown: Shown, row: Row | None, periods: list[Period]) -> date:
    """Return the first day on which a subscription no longer counts; tomorrow while it counts."""
    tomorrow = shown.today + DAY
    last = periods[-1] if periods else None
    if row is None:
        return min(last.until + GRACE + DAY, shown.today) if last else shown.today
    due_on = row.next_due_on or (last.until if last else row.registered_on)
    request = shown.requests.get(row.key)
    if request and any(period.invoice.issued_on > request.made_on for period in periods):
        request = None
    grace = timedelta() if request or not row.renews else GRACE
    ends = [tomorrow, due_on + grace + DAY]
    if not _is_live(row):
        # Nothing dates the end of a subscription that was paid ahead: it had ended when it was first observed.
        ends.append(shown.today)
        if request and request.is_immediate:
            ends.append(request.made_on)
        if row.status == "Transferred Away":
            ends.append(due_on + DAY)
        if last and last.invoice.refunded_on:
            ends.append(last.invoice.refunded_on)
        if row.parent and (parent := shown.rows.get(row.parent)) and not _is_live(parent):
            with_parent = _end(shown, parent, periods_of(shown, parent.key))
            # A payment after that shows that it went on until then, and several that it was left under its service.
            later = [period.counts_from for period in periods if _paid_on(period) >= with_parent]
            if len(later) < 2:
                ends.append(max([with_parent, *later]))
    return min(ends)


def _paid_on(period: Period) -> date:
    assert period.invoice.paid_on
    return period.invoice.paid_on


def _joined(stretches: list[Stretch]) -> list[Stretch]:
    """Return the stretches without empty ones, and with equal neighbours as one."""
    joined: list[Stretch] = []
    for stretch in stretches:
        if stretch.from_on >= stretch.to_on:
            continue
        if joined and joined[-1].to_on == stretch.from_on and joined[-1][:4] == stretch[:4]:
            joined[-1] = joined[-1]._replace(to_on=stretch.to_on)
        else:
            joined.append(stretch)
    return joined

"""From the segments of one customer to its movements: why its MRR of a day differs from that of the day before.

The movements of a customer follow from its whole MRR, those of a product or a country from the rows of its subscriptions. So each day is
computed in two steps: classify the net change of the customer, then spread it over the subscriptions. What a subscription gains or loses
beyond its share is a transfer to or from other subscriptions of the customer. So the rows of a kind add up to the customer's movement, and
the rows of a subscription add up to its own change, whatever its product, country and other values are.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import MovementKind, MovementReason
from services.metrics.formulas.accounts import Account, Entry, accounts_of
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.item_changes import Change, ChangesByDay, add_changes, reason_of
from services.metrics.formulas.timeline import Segment


class Movement(NamedTuple):
    """A part of a movement of a customer on a day: what one subscription contributes. `number` counts the rows of the day and lens.

    `product` and all values behind it are those under which the amount was gained or lost. `from_product` and `to_product` are those of the
    subscription before and after, None where it does not count. `days_away` says how long a reactivated customer was away.
    """

    lens: Lens
    on: date
    number: int
    kind: str
    id: int
    movement: MovementKind
    reason: MovementReason | None
    amount_micros: int
    currency: str
    from_product: str | None
    to_product: str | None
    days_away: int | None
    basis: str
    product: str
    cycle: str
    promotion_id: int | None
    product_group: str | None
    customer_group: str | None
    country: str | None
    payment_method: str | None


class CustomerDay(NamedTuple):
    """A day on which the MRR of a customer in a currency changes. `moved_micros` of the change came from or went to elsewhere.

    `previous_on` and `next_on` are the days of the changes before and after it.
    """

    lens: Lens
    currency: str
    on: date
    before_micros: int
    after_micros: int
    moved_micros: int
    previous_on: date | None
    next_on: date | None


class CustomerHistory(NamedTuple):
    """All movements and days of change of a customer, in order of lens and day."""

    movements: tuple[Movement, ...] = ()
    days: tuple[CustomerDay, ...] = ()


class Life:
    """How a customer's MRR stands in one lens, as day after day is added."""

    def __init__(self) -> None:
        self.balances: dict[str, int] = defaultdict(int)
        self.has_counted = False
        self.left_on: date | None = None

    @property
    def is_there(self) -> bool:
        """Return whether the customer has an MRR above 0."""
        return any(balance > 0 for balance in self.balances.values())

    def end_day(self, on: date, *, was_there: bool) -> None:
        """Note whether the customer has come or gone by the end of a day."""
        if was_there and not self.is_there:
            self.left_on = on
        self.has_counted = self.has_counted or was_there or self.is_there

    def copy(self) -> "Life":
        """Return the same state, which later days leave as it is."""
        copied = Life()
        copied.balances.update(self.balances)
        copied.has_counted, copied.left_on = self.has_counted, self.left_on
        return copied


class DayChange(NamedTuple):
    """A change of the MRR of a customer in a currency on a day."""

    on: date
    currency: str
    before_micros: int
    after_micros: int
    moved_micros: int = 0


def history_of(customer_id: int, segments: Mapping[Subscription, Iterable[Segment]]) -> CustomerHistory:
    """Return the movements of a customer in all lenses.

    `segments` has all segments, in any order, of each subscription that the customer ever had: those of its other customers tell where MRR
    came from.
    Source: docs/metrics.md#movements.
    """
    return next(filter(None, history_in_steps(customer_id, segments)))


def history_in_steps(
    customer_id: int, segments: Mapping[Subscription, Iterable[Segment]]
) -> Iterator[CustomerHistory | None]:
    """Yield None after each subscription and each day, and at last the history of a customer, who may have thousands of subscriptions."""
    by_lens: ChangesByDay = {}
    for item in sorted(segments):
        add_changes(by_lens, item, segments[item], customer_id)
        yield None
    movements: list[Movement] = []
    days: list[CustomerDay] = []
    for lens in sorted(by_lens):
        life, changed = Life(), []
        for on in sorted(by_lens[lens]):
            accounts = accounts_of(by_lens[lens][on], customer_id, life.balances)
            movements.extend(movements_of_day(lens, on, accounts, life))
            changed += [
                DayChange(on, account.currency, account.start, account.end, account.moved)
                for account in accounts
                if account.end != account.start
            ]
            yield None
        days.extend(days_of(lens, changed))
    yield CustomerHistory(tuple(movements), tuple(days))


def spread(net: int, parts: Sequence[int]) -> list[int]:
    """Return the share of each part in `net`, which is the sum of all parts; the shares add up to it exactly.

    Parts of its sign share in proportion to their size, and none gets more than its size. Other parts get nothing.
    """
    whole = sum(part for part in parts if part * net > 0)
    shares, passed, given = [], 0, 0
    for part in parts:
        if part * net <= 0:
            shares.append(0)
            continue
        passed += part
        # The rounded share of all parts so far: the last part gets what is left, and no remainder needs a rule of its own.
        total = net * passed // whole
        shares.append(total - given)
        given = total
    return shares


def movements_of_day(lens: Lens, on: date, accounts: Sequence[Account], life: Life) -> Iterator[Movement]:
    """Yield the rows of a day and bring `life` to its end."""
    # MRR that came from another customer or currency is no new business, so its customer counts as one that was there.
    was_there = life.is_there or any(account.start + account.moved > 0 for account in accounts)
    for account in accounts:
        life.balances[account.currency] = account.end
    is_there = life.is_there
    number = 0
    for account in accounts:
        kind = _kind(account.net, was_there, is_there, life.has_counted)
        days_away = None
        if kind is MovementKind.REACTIVATION and life.left_on is not None:
            days_away = (on - life.left_on).days
        shares = spread(account.net, [entry.net for entry in account.entries])
        for entry, share in zip(account.entries, shares, strict=True):
            for place, movement, amount in _parts(entry, kind, share):
                number += 1
                away = days_away if movement is MovementKind.REACTIVATION else None
                yield _row(lens, on, number, entry.change, place, movement, amount, away)
    life.end_day(on, was_there=was_there)


def _kind(net: int, was_there: bool, is_there: bool, has_counted: bool) -> MovementKind:
    """Return the kind of a net change. A customer is there while its MRR is above 0."""
    if net > 0:
        if was_there or not is_there:
            return MovementKind.EXPANSION
        return MovementKind.REACTIVATION if has_counted else MovementKind.NEW_BUSINESS
    return MovementKind.CHURN if was_there and not is_there else MovementKind.CONTRACTION


def _parts(entry: Entry, kind: MovementKind, share: int) -> Iterator[tuple[Segment, MovementKind, int]]:
    """Yield the amounts of an entry that are not 0, each with the segment under whose values it was gained or lost.

    Where product or other values change, the MRR that stays is transferred. The difference belongs to the side with the greater MRR: a gain
    to the new product, a loss to the old one.
    """
    before, after = entry.before, entry.after
    place, transfer = entry.newest, entry.net - share
    if before is not None and after is not None and _values(before) != _values(after):
        if abs(after.mrr_micros) >= abs(before.mrr_micros):
            yield before, MovementKind.TRANSFER, -before.mrr_micros
            transfer += before.mrr_micros
        else:
            yield after, MovementKind.TRANSFER, after.mrr_micros
            place, transfer = before, transfer - after.mrr_micros
    if entry.moved:
        yield place, MovementKind.MOVED, entry.moved
    if share:
        yield place, kind, share
    if transfer:
        yield place, MovementKind.TRANSFER, transfer


def _values(segment: Segment) -> tuple[str | int | None, ...]:
    """Return all values by which figures are split or filtered, and which a row of a movement has."""
    return (
        segment.product,
        segment.cycle,
        segment.promotion_id,
        segment.product_group,
        segment.customer_group,
        segment.country,
        segment.payment_method,
    )


def _row(
    lens: Lens,
    on: date,
    number: int,
    change: Change,
    place: Segment,
    movement: MovementKind,
    amount: int,
    days_away: int | None,
) -> Movement:
    before, after = change.before, change.after
    return Movement(
        lens,
        on,
        number,
        change.item.kind,
        change.item.id,
        movement,
        None if movement is MovementKind.MOVED else reason_of(change),
        amount,
        place.currency,
        None if before is None else before.product,
        None if after is None else after.product,
        days_away,
        change.newest.basis,
        place.product,
        place.cycle,
        place.promotion_id,
        place.product_group,
        place.customer_group,
        place.country,
        place.payment_method,
    )


def days_of(lens: Lens, changed: Iterable[DayChange]) -> Iterator[CustomerDay]:
    """Yield the days of change of a customer, each with those beside it in its currency. They come in order."""
    by_currency: dict[str, list[DayChange]] = defaultdict(list)
    for change in changed:
        by_currency[change.currency].append(change)
    for currency in sorted(by_currency):
        days = [None, *(change.on for change in by_currency[currency]), None]
        for index, change in enumerate(by_currency[currency]):
            yield CustomerDay(
                lens,
                currency,
                change.on,
                change.before_micros,
                change.after_micros,
                change.moved_micros,
                days[index],
                days[index + 2],
            )

"""From the segments of subscriptions to what changes on which day, and why."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Final, NamedTuple

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import Cause, MovementReason
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.timeline import Segment

# Who pays within so many days after a lapse paid late; later it is a new decision to buy.
_RECOVERY: Final = timedelta(days=30)

_REASON_OF_END: Final = {
    Cause.CANCELLATION: MovementReason.CANCELLATION,
    Cause.NON_PAYMENT: MovementReason.NON_PAYMENT,
    Cause.DISAPPEARED: MovementReason.DISAPPEARED,
    Cause.TRANSFERRED_AWAY: MovementReason.TRANSFERRED_AWAY,
    Cause.BECAME_FREE: MovementReason.BECAME_FREE,
}


class Change(NamedTuple):
    """A change of a subscription on a day in one lens, from the segment `before` to the segment `after`.

    Each is None where the subscription does not count; `newest` is the last that is not None. `earlier` is its last segment before it was
    away.
    """

    item: Subscription
    before: Segment | None
    after: Segment | None
    newest: Segment
    earlier: Segment | None = None


ChangesByDay = dict[Lens, dict[date, list[Change]]]


def changes_by_day(segments: Mapping[Subscription, Iterable[Segment]], customer_id: int) -> ChangesByDay:
    """Return the changes that concern a customer, per lens and day, in the order of the subscriptions.

    `segments` has all segments of each subscription that the customer ever had, those of other customers included.
    """
    by_day: ChangesByDay = {}
    for item in sorted(segments):
        add_changes(by_day, item, segments[item], customer_id)
    return by_day


def add_changes(
    by_day: ChangesByDay, item: Subscription, segments: Iterable[Segment], customer_id: int
) -> None:
    """Add the changes of a subscription that concern a customer. Subscriptions come in order."""
    of_lens: dict[Lens, list[Segment]] = defaultdict(list)
    for segment in segments:
        of_lens[segment.lens].append(segment)
    for lens, line in of_lens.items():
        days = by_day.setdefault(lens, defaultdict(list))
        for on, change in _changes(item, line):
            if concerns(change, customer_id):
                days[on].append(change)


def _changes(item: Subscription, segments: list[Segment]) -> Iterator[tuple[date, Change]]:
    last = None
    for segment in sorted(segments, key=lambda segment: segment.from_on):
        if last is not None and last.to_on == segment.from_on:
            yield segment.from_on, Change(item, last, segment, segment)
        else:
            if last is not None and last.to_on is not None:
                yield last.to_on, Change(item, last, None, last)
            yield segment.from_on, Change(item, None, segment, segment, last)
        last = segment
    if last is not None and last.to_on is not None:
        yield last.to_on, Change(item, last, None, last)


def concerns(change: Change, customer_id: int) -> bool:
    """Return whether the customer has one of the sides of a change."""
    return (change.before is not None and change.before.customer_id == customer_id) or (
        change.after is not None and change.after.customer_id == customer_id
    )


def reason_of(change: Change) -> MovementReason | None:
    """Return why a change moves the MRR of its subscription; None when it does not."""
    before, after = change.before, change.after
    if before is None and after is not None:
        return _reason_of_start(after, change.earlier)
    if after is None and before is not None:
        return _reason_of_end(before)
    if before is None or after is None or before.mrr_micros == after.mrr_micros:
        return None
    return _reason_of_difference(before, after)


def _reason_of_start(after: Segment, earlier: Segment | None) -> MovementReason:
    if after.mrr_micros < 0:
        return MovementReason.DISCOUNT_STARTED
    if earlier is not None and earlier.to_on is not None:
        if earlier.cause == Cause.NON_PAYMENT and after.from_on - earlier.to_on <= _RECOVERY:
            return MovementReason.RECOVERED
        if earlier.cause == Cause.BECAME_FREE:
            return MovementReason.PRICE_CHANGE
    return MovementReason.ADDED_ITEM


def _reason_of_end(before: Segment) -> MovementReason:
    if before.mrr_micros < 0:
        return MovementReason.DISCOUNT_ENDED
    if before.cause is None:
        return MovementReason.LOST_ITEM
    return _REASON_OF_END.get(before.cause, MovementReason.LOST_ITEM)


def _reason_of_difference(before: Segment, after: Segment) -> MovementReason:
    """Return the first difference that explains another MRR: a new product comes with its own cycle and price."""
    is_more = after.mrr_micros > before.mrr_micros
    if before.product != after.product:
        return MovementReason.UPGRADE if is_more else MovementReason.DOWNGRADE
    if before.quantity != after.quantity:
        return MovementReason.QUANTITY
    if before.cycle != after.cycle:
        return MovementReason.CYCLE_CHANGE
    if before.promotion_id != after.promotion_id:
        if after.promotion_id is not None and not is_more:
            return MovementReason.DISCOUNT_STARTED
        if before.promotion_id is not None and is_more:
            return MovementReason.DISCOUNT_ENDED
    return MovementReason.PRICE_CHANGE

"""The true history of the company: on which days each subscription counted, and how each customer's MRR moved.

It is computed from the recorded versions and never from an answer of the API.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import Literal, NamedTuple, get_args

from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.records import Kind, Subscription
from tools.whmcs_simulator.truth import Lens, counting_days, is_fraud, mrr_micros

Movement = Literal["new_business", "reactivation", "expansion", "contraction", "churn", "moved"]
MOVEMENTS: tuple[Movement, ...] = get_args(Movement)


class Span(NamedTuple):
    """The days from `from_on` up to but not `to_on` on which a subscription had this MRR. `to_on` is tomorrow while it counts."""

    kind: Kind
    id: int
    customer_id: int
    currency: str
    mrr_micros: int
    from_on: int
    to_on: int


class Account(NamedTuple):
    """A customer has one account for each currency in which it ever had MRR."""

    customer_id: int
    currency: str


class Moved(NamedTuple):
    """The part of an account's change on a day that has one kind. Amounts are signed."""

    account: Account
    on: int
    kind: Movement
    amount_micros: int


def true_spans(company: Company, lens: Lens = "contract") -> list[Span]:
    """Return the spans of all subscriptions, also of deleted ones, ordered for each by day.

    A subscription that turned out to be fraud never counted.
    """
    spans: list[Span] = []
    for subscription in chain(company.subscriptions(), company.deleted):
        if not is_fraud(subscription):
            spans += joined(_spans(subscription, company.today + 1, lens))
    return spans


def mrr_on(spans: Iterable[Span], day: int) -> dict[tuple[Account, Kind], int]:
    """Return the MRR in micros at the end of a day, for each account and kind that has some."""
    sums: dict[tuple[Account, Kind], int] = defaultdict(int)
    for span in spans:
        if span.from_on <= day < span.to_on:
            sums[Account(span.customer_id, span.currency), span.kind] += span.mrr_micros
    return dict(sums)


def movements(spans: Iterable[Span], today: int) -> list[Moved]:
    """Return all movements until today by day. On each day those of an account add up to the change of its MRR."""
    before: dict[Account, int] = defaultdict(int)
    has_had_mrr: set[Account] = set()
    result: list[Moved] = []
    for on, changes in sorted(_changes_by_day(spans).items()):
        if on > today:
            break
        moved = _moved(changes)
        for account in sorted({Account(change.customer_id, change.currency) for change in changes}):
            change = sum(c.mrr_micros for c in changes if (c.customer_id, c.currency) == account)
            after = before[account] + change
            if moved[account]:
                result.append(Moved(account, on, "moved", moved[account]))
                has_had_mrr.add(account)
            base = before[account] + moved[account]
            if after != base:
                is_new = account not in has_had_mrr
                result.append(Moved(account, on, _kind(base, after, is_new=is_new), after - base))
            if after > 0:
                has_had_mrr.add(account)
            before[account] = after
    return result


def _kind(before: int, after: int, *, is_new: bool) -> Movement:
    if before <= 0 < after:
        return "new_business" if is_new else "reactivation"
    if after <= 0 < before:
        return "churn"
    return "expansion" if after > before else "contraction"


class _Change(NamedTuple):
    kind: Kind
    id: int
    customer_id: int
    currency: str
    mrr_micros: int


def _changes_by_day(spans: Iterable[Span]) -> dict[int, list[_Change]]:
    days: dict[int, list[_Change]] = defaultdict(list)
    for span in spans:
        days[span.from_on].append(_Change(*span[:5]))
        days[span.to_on].append(_Change(*span[:4], -span.mrr_micros))
    return days


def _moved(changes: Iterable[_Change]) -> dict[Account, int]:
    """Return what left or entered each account because a subscription changed its customer or currency on this day."""
    by_item: dict[tuple[Kind, int], dict[Account, int]] = defaultdict(lambda: defaultdict(int))
    for change in changes:
        by_item[change.kind, change.id][Account(change.customer_id, change.currency)] += change.mrr_micros
    moved: dict[Account, int] = defaultdict(int)
    for accounts in by_item.values():
        left = {account: amount for account, amount in accounts.items() if amount < 0}
        entered = {account: amount for account, amount in accounts.items() if amount > 0}
        if len(left) == len(entered) == 1:
            [(old, out)], [(new, in_)] = left.items(), entered.items()
            # In one currency the pair sums to zero, and a price that changed with the move is a movement of its own.
            moved[old] += out
            moved[new] += -out if new.currency == old.currency else in_
    return moved


def _spans(subscription: Subscription, tomorrow: int, lens: Lens) -> Iterator[Span]:
    days = [version.day for version in subscription.versions] + [tomorrow]
    for version, (from_on, to_on) in zip(subscription.versions, pairwise(days), strict=True):
        counting = counting_days(subscription.kind, version, lens)
        if counting is None:
            continue
        start, end = max(from_on, counting.first), min(to_on, counting.last + 1)
        if start < end:
            mrr = mrr_micros(version.recurring, version.cycle)
            yield Span(
                subscription.kind, subscription.id, version.customer_id, version.currency, mrr, start, end
            )


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return the spans with equal neighbours as one."""
    result: list[Span] = []
    for span in spans:
        if result and result[-1].to_on == span.from_on and result[-1][:5] == span[:5]:
            result[-1] = result[-1]._replace(to_on=span.to_on)
        else:
            result.append(span)
    return result

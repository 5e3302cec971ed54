"""Recurring promotions: discount lines that lower the amount of a period. One-off discounts change no MRR."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from services.metrics.formulas.invoices import Item
from services.metrics.formulas.paid_lines import PaidLine

_BETWEEN_WORDS: Final = re.compile(r"[\s:,;()]+")
_RECURRING: Final = "recurring discount"
_ONE_OFF: Final = "one time discount"


def with_discounts(
    periods: Sequence[PaidLine],
    discounts: Sequence[PaidLine],
    item: Item | None,
    promotions: Mapping[str, bool],
) -> list[PaidLine]:
    """Return the lines of a subscription less its recurring discounts.

    `promotions` says of each code whether it recurs. A discount belongs to the line that is written before it, because an invoice may bill
    several periods. It makes no period a discount: at most, the period is free.
    """
    if not discounts:
        return list(periods)
    times = Counter(discount.line.description for discount in discounts)
    reduced = list(periods)
    for discount in discounts:
        index = _line_before(periods, discount)
        if index is None:
            continue
        repeats = times[discount.line.description] > 1
        if _recurs(periods[index], discount, item, promotions, repeats):
            net = reduced[index].net
            reduced[index] = reduced[index]._replace(net=max(net + discount.net, min(net, 0)))
    return reduced


def _line_before(periods: Sequence[PaidLine], discount: PaidLine) -> int | None:
    """Return the index of the line of the same invoice that a discount follows, or of the first one; None without such lines."""
    of_invoice = [index for index, paid in enumerate(periods) if paid.invoice.id == discount.invoice.id]
    before = [index for index in of_invoice if periods[index].line.id < discount.line.id]
    return next(iter([*reversed(before), *of_invoice]), None)


def _recurs(
    paid: PaidLine, discount: PaidLine, item: Item | None, promotions: Mapping[str, bool], repeats: bool
) -> bool:
    """Return whether a discount also applies to renewals.

    The code in its description says so, if the promotion still exists, or else the words of WHMCS in English. In other languages a second
    discount or the present amount of the subscription shows it.
    """
    description = discount.line.description
    for word in _BETWEEN_WORDS.split(description):
        if word in promotions:
            return promotions[word]
    text = description.lower()
    if _RECURRING in text or _ONE_OFF in text:
        return _RECURRING in text
    return repeats or (
        item is not None and item.recurring_micros == paid.line.amount_micros + discount.line.amount_micros
    )

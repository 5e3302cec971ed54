"""The parts of the gap between MRR by contract and MRR that invoices paid."""

from enum import StrEnum
from typing import Final, NamedTuple


class GapPart(StrEnum):
    """Why MRR by the lens `contract` differs from MRR by the lens `paid`."""

    UNPAID_IN_GRACE = "unpaid_in_grace"
    INTRODUCTORY_DISCOUNT = "introductory_discount"
    PRICE_CHANGED = "price_changed"
    FREE_TERM = "free_term"
    NO_LINKED_LINE = "no_linked_line"


class PartWords(NamedTuple):
    """A part in the words of an owner, and what it means."""

    title: str
    meaning: str


GAP_WORDS: Final = {
    GapPart.UNPAID_IN_GRACE: PartWords(
        "Unpaid in grace",
        "The invoice is due or overdue. The subscription still counts while its grace lasts.",
    ),
    GapPart.INTRODUCTORY_DISCOUNT: PartWords(
        "Introductory discount", "The first invoice was for less than the price is."
    ),
    GapPart.PRICE_CHANGED: PartWords(
        "Price changed since", "The price or the product is not that of the last paid invoice."
    ),
    GapPart.FREE_TERM: PartWords("Free term", "The invoice for these days was for nothing."),
    GapPart.NO_LINKED_LINE: PartWords(
        "No linked line",
        "The subscription counts, and no invoice is paid for these days. Below 0: an invoice is paid, and the subscription has ended.",
    ),
}

"""How far the history of an instance is read: the days before its first sync, which its invoices and their lines show."""

from datetime import date
from enum import StrEnum
from typing import NamedTuple


class HistoryState(StrEnum):
    """READING: lines are missing. READY: all were read, and the next step computes the history. PUBLISHED: it is in the figures."""

    READING = "reading"
    READY = "ready"
    PUBLISHED = "published"


class History(NamedTuple):
    """How many invoices there are and how many have their lines, and the first day of published history."""

    state: HistoryState
    invoices: int = 0
    invoices_read: int = 0
    first_on: date | None = None


class InvoiceCount(NamedTuple):
    """How many invoices there are, how many have their lines, and how many of the others must be waited for."""

    invoices: int
    invoices_read: int
    awaited: int


NO_HISTORY = History(HistoryState.READING)


def after_count(history: History, counted: InvoiceCount) -> History:
    """Return the history after its invoices were counted."""
    return history._replace(invoices=counted.invoices, invoices_read=counted.invoices_read)

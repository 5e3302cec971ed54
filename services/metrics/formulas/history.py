"""How far the history of an instance is read: the days before its first sync, which its invoices and their lines show."""

from datetime import date
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

import orjson

from services.metrics.formulas.date_formats import DateCounts
from services.metrics.formulas.invoices import LineRules


class HistoryState(StrEnum):
    """READING: lines are missing. READY: all were read, and the next step computes the history. PUBLISHED: it is in the figures."""

    READING = "reading"
    READY = "ready"
    PUBLISHED = "published"


class History(NamedTuple):
    """How many invoices there are and how many have their lines. Once all are read, also how lines are read.

    `first_on` is the day of the first invoice. `dates` counts how lines print dates. `rules` is the digest of the rules by which the
    published history was computed, and `start_on` the setting that cuts it.
    `has_paid`: it has the lens `paid`, which releases before migration 0020 do not compute.
    """

    state: HistoryState
    invoices: int = 0
    invoices_read: int = 0
    first_on: date | None = None
    dates: DateCounts = DateCounts()
    rules: str | None = None
    start_on: date | None = None
    has_paid: bool = False

    @property
    def is_computed(self) -> bool:
        """Return whether days before the first sync are in the figures, or will be after this step."""
        return self.state is not HistoryState.READING

    @property
    def shown_from(self) -> date | None:
        """Return the first day of published history; None while there is none."""
        if self.state is not HistoryState.PUBLISHED or self.first_on is None:
            return None
        return self.first_on if self.start_on is None else max(self.first_on, self.start_on)


class InvoiceCount(NamedTuple):
    """How many invoices there are, how many have their lines, and how many of the others must be waited for."""

    invoices: int
    invoices_read: int
    awaited: int


class Contents(NamedTuple):
    """What all invoices of an instance show: the day of the first one, and how lines print dates."""

    first_on: date | None
    dates: DateCounts


NO_HISTORY = History(HistoryState.READING)


def after_count(history: History, counted: InvoiceCount) -> History:
    """Return the history after its invoices were counted."""
    return history._replace(invoices=counted.invoices, invoices_read=counted.invoices_read)


def ready(history: History, contents: Contents) -> History:
    """Return the history once no invoice must be waited for."""
    return history._replace(state=HistoryState.READY, first_on=contents.first_on, dates=contents.dates)


def published(history: History, rules: str, start_on: date | None) -> History:
    """Return the history after all customers were computed by these rules."""
    return history._replace(state=HistoryState.PUBLISHED, rules=rules, start_on=start_on, has_paid=True)


def digest_of(rules: LineRules) -> str:
    """Return a text that changes with what invoices and lists say about lines: then all customers must be computed again.

    Definitions are compared by themselves, because a change of them is a restatement with a cause of its own.
    """
    plain = [
        rules.date_order,
        rules.prices_include_tax,
        sorted(rules.promotions.items()),
        sorted(rules.products.items()),
    ]
    return sha256(orjson.dumps(plain)).hexdigest()

"""Which cancellation requests are open on a day. A request is over when it is withdrawn, or when a later invoice is paid nevertheless."""

from collections import deque
from collections.abc import Iterable
from datetime import date

from services.metrics.formulas.evidence import Evidence, Request
from services.metrics.formulas.invoices import PaidPeriod


class OpenRequests:
    """The requests of one subscription, asked day by day."""

    def __init__(self, evidence: Evidence) -> None:
        self._waiting = deque(sorted(evidence.requests, key=lambda request: request.on))
        self._paid_periods = evidence.paid_periods or ()
        self._open: dict[int, Request] = {}
        self._outlived: set[int] = set()

    def on_day(self, on: date) -> bool:
        """Return whether a request is open on a day. Days come in order."""
        while self._waiting and self._waiting[0].on <= on:
            request = self._waiting.popleft()
            if request.is_open and request.id not in self._outlived:
                self._open[request.id] = request
            else:
                self._open.pop(request.id, None)
        return bool(self._open)

    def see_due_date(self, before: date | None, due_on: date | None, on: date) -> None:
        """Close the requests that a due date, seen on a day, outlived: an invoice issued after them was paid and moved it forward.

        `before` is the due date that was seen before, None for the first one.
        """
        if due_on is None or (before is not None and due_on <= before):
            return
        self.on_day(on)
        for request in list(self._open.values()):
            if is_outlived(request, self._paid_periods, before, on):
                del self._open[request.id]
                self._outlived.add(request.id)


def is_outlived(
    request: Request, paid_periods: Iterable[PaidPeriod], since: date | None, until: date
) -> bool:
    """Return whether a period that begins on the day `since` or later was billed after a request and paid until a day.

    A payment of an older invoice proves nothing: the customer owed it anyway.
    """
    requested_on = request.requested_on or request.on
    return any(
        period.issued_on is not None
        and period.issued_on > requested_on
        and period.paid_on is not None
        and period.paid_on <= until
        and (since is None or period.from_on >= since)
        for period in paid_periods
    )

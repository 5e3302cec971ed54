"""Reads from the activity log of a WHMCS which customers were touched. It takes their ids only; the texts are personal data."""

from typing import Final, NamedTuple

from services.connector.caller import Caller
from services.connector.reading import readable_id
from services.connector.whmcs import answers
from services.connector.whmcs.entities import ACTIVITY_LOG

KIND: Final = "activity"
_ENTRIES_PER_PAGE, _MOST_PAGES = 100, 5


class Touched(NamedTuple):
    """The customers with entries in the log, those with the newest first, and the id of its newest entry."""

    customers: list[int]
    newest_id: int


async def touched_since(caller: Caller, entry_id: int | None) -> Touched:
    """Return the customers with entries behind `entry_id`; without one only where the log ends. Raise WhmcsError."""
    customers: dict[int, None] = {}
    newest_id = entry_id or 0
    for number in range(_MOST_PAGES):
        page = {"limitstart": number * _ENTRIES_PER_PAGE, "limitnum": _ENTRIES_PER_PAGE}
        answer = await caller.ask(ACTIVITY_LOG, page, rows=_ENTRIES_PER_PAGE)
        ids = [
            (readable_id(row.get("id")) or 0, row) for row in answers.rows(answer.body, "activity", "entry")
        ]
        newest_id = max([newest_id, *(id_ for id_, _ in ids)])
        # WHMCS sends the newest entries first. Before 8.0 the id of the client has another name.
        new = [row for id_, row in ids if entry_id is not None and id_ > entry_id]
        touched = [readable_id(row.get("clientId", row.get("userid"))) for row in new]
        customers |= dict.fromkeys(customer_id for customer_id in touched if customer_id is not None)
        if not ids or len(new) < len(ids):
            break
    return Touched(list(customers), newest_id)

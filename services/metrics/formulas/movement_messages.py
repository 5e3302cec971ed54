"""From the movements of a customer on a day to the message about them."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Final
from uuid import UUID

from libs.common.contracts.billing import Kind, fact_key
from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import (
    MAX_SUBSCRIPTIONS,
    MovementKind,
    MovementsChanged,
)
from libs.common.contracts.movements import Movement as SentMovement
from services.metrics.formulas.movements import Movement

# Messages have the movements by this lens only.
SENT_LENS: Final = Lens.CONTRACT


def key_of(instance_id: UUID, customer_id: int, on: date) -> str:
    """Return the key of a message."""
    return f"{instance_id}:{customer_id}:{on}"


def sent_rows(rows: Iterable[Movement]) -> list[Movement]:
    """Return the rows that a message is made of. Transfers change nothing for the customer."""
    return [row for row in rows if row.lens == SENT_LENS and row.movement != MovementKind.TRANSFER]


def message_of(
    instance_id: UUID, customer_id: int, on: date, rows: Iterable[Movement]
) -> MovementsChanged | None:
    """Return the message about a day of a customer, whose rows are added up by kind, currency and reason; None when nothing moved."""
    parts: dict[tuple[MovementKind, str, str | None], list[Movement]] = defaultdict(list)
    for row in sent_rows(rows):
        parts[row.movement, row.currency, row.reason].append(row)
    if not parts:
        return None
    return MovementsChanged(
        customer=fact_key(instance_id, Kind.CUSTOMER, customer_id),
        on=on,
        movements=tuple(
            SentMovement(
                kind=kind,
                amount_micros=sum(row.amount_micros for row in of_part),
                currency=currency,
                reason=reason,
                subscriptions=_subscriptions(instance_id, of_part),
            )
            for (kind, currency, reason), of_part in parts.items()
        ),
    )


def _subscriptions(instance_id: UUID, rows: Iterable[Movement]) -> tuple[str, ...]:
    # Not all kinds are those of facts: a billable item is known from the lines of invoices alone.
    ids = dict.fromkeys(f"{instance_id}:{row.kind}:{row.id}" for row in rows)
    return tuple(ids)[:MAX_SUBSCRIPTIONS]

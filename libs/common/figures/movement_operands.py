"""The numbers about movements from which metrics are computed. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from libs.common.contracts.movements import MovementKind, MovementReason
from libs.common.figures.operands import Listing, Operand, Taken, Unit, flows
from libs.common.figures.relations import CUSTOMER_MOVEMENTS, MOVEMENTS, MOVES, STARTER_MOVEMENTS


def _movement(kind: MovementKind, title: str) -> Operand:
    """Return the sum of a movement; what is lost is negative."""
    return Operand(
        name=kind,
        title=title,
        unit=Unit.MONEY,
        relation=MOVEMENTS,
        measure=kind,
        sql=f"coalesce(sum(amount_micros) FILTER (WHERE movement = '{kind}'), 0) / 1e6",
        listing=Listing.MOVEMENTS,
        levels=flows,
        taken=Taken.WITHIN,
        shown=(("movement", kind),),
    )


NEW_BUSINESS: Final = _movement(MovementKind.NEW_BUSINESS, "New business")
REACTIVATION: Final = _movement(MovementKind.REACTIVATION, "Reactivation")
EXPANSION: Final = _movement(MovementKind.EXPANSION, "Expansion")
CONTRACTION: Final = _movement(MovementKind.CONTRACTION, "Contraction")
CHURN: Final = _movement(MovementKind.CHURN, "Churn")
MOVED: Final = _movement(MovementKind.MOVED, "Moved between customers or currencies")
MOVED_IN_PAIRS: Final = replace(MOVED, relation=MOVES)


def _of_starters(kind: MovementKind, title: str) -> Operand:
    """Return the sum of a movement of the customers who paid at the start."""
    return Operand(
        name=f"starter_{kind}",
        title=f"{title} of customers at the start",
        unit=Unit.MONEY,
        relation=STARTER_MOVEMENTS,
        measure=f"starter_{kind}",
        sql=f"coalesce(sum(amount_micros) FILTER (WHERE movement = '{kind}'), 0) / 1e6",
        listing=Listing.MOVEMENTS,
        levels=flows,
        taken=Taken.WITHIN,
        shown=(("movement", kind), ("at_start", "true")),
    )


STARTER_CHURN: Final = _of_starters(MovementKind.CHURN, "Churn")
STARTER_CONTRACTION: Final = _of_starters(MovementKind.CONTRACTION, "Contraction")
STARTER_EXPANSION: Final = _of_starters(MovementKind.EXPANSION, "Expansion")


_CAUSES: Final = (
    MovementReason.CANCELLATION,
    MovementReason.NON_PAYMENT,
    MovementReason.DISAPPEARED,
    MovementReason.TRANSFERRED_AWAY,
    MovementReason.BECAME_FREE,
)


def _churn_by(cause: str, title: str, condition: str, reasons: Iterable[str]) -> Operand:
    """Return the sum of churn for some reasons."""
    return Operand(
        name=f"churn_{cause}",
        title=title,
        unit=Unit.MONEY,
        relation=MOVEMENTS,
        measure=f"churn_{cause}",
        sql=f"coalesce(sum(amount_micros) FILTER (WHERE movement = 'churn' AND {condition}), 0) / 1e6",
        listing=Listing.MOVEMENTS,
        levels=flows,
        taken=Taken.WITHIN,
        shown=(("movement", MovementKind.CHURN), *(("reason", reason) for reason in reasons)),
    )


_OTHERS: Final = [reason for reason in MovementReason if reason not in _CAUSES]
_LISTED: Final = ", ".join(f"'{cause}'" for cause in _CAUSES)
CHURN_BY_CAUSE: Final[Mapping[str, Operand]] = {
    **{
        cause: _churn_by(cause, f"Churn: {cause.replace('_', ' ')}", f"reason = '{cause}'", [cause])
        for cause in _CAUSES
    },
    "unknown": _churn_by(
        "unknown",
        "Churn for no known cause",
        f"coalesce(reason, '') NOT IN ({_LISTED})",
        _OTHERS,
    ),
}


def _of_customers(name: str, title: str, unit: Unit, sql: str, movement: MovementKind) -> Operand:
    """Return a number of what customers did on single days."""
    return Operand(
        name=name,
        title=title,
        unit=unit,
        relation=CUSTOMER_MOVEMENTS,
        measure=name,
        sql=sql,
        listing=Listing.MOVEMENTS,
        levels=flows,
        taken=Taken.WITHIN,
        shown=(("movement", movement),),
    )


NEW_CUSTOMERS: Final = _of_customers(
    "new_customers",
    "New customers",
    Unit.COUNT,
    "(count(*) FILTER (WHERE movement = 'new_business'))::numeric",
    MovementKind.NEW_BUSINESS,
)
CHURNED_CUSTOMERS: Final = _of_customers(
    "churned_customers",
    "Customers that left",
    Unit.COUNT,
    "(count(*) FILTER (WHERE movement = 'churn'))::numeric",
    MovementKind.CHURN,
)
ENTERING: Final = _of_customers(
    "entering",
    "Transfers into it",
    Unit.MONEY,
    "coalesce(sum(greatest(amount, 0)) FILTER (WHERE movement = 'transfer'), 0) / 1e6",
    MovementKind.TRANSFER,
)
LEAVING: Final = _of_customers(
    "leaving",
    "Transfers out of it",
    Unit.MONEY,
    "coalesce(sum(least(amount, 0)) FILTER (WHERE movement = 'transfer'), 0) / 1e6",
    MovementKind.TRANSFER,
)

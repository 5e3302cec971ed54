"""What changed MRR in a period."""

from dataclasses import replace
from fractions import Fraction
from typing import Final

from libs.common.figures.metric import Breakdown, Good, Metric, Operands, Reason, Value
from libs.common.figures.movement_operands import (
    CHURN,
    CHURN_BY_CAUSE,
    CHURNED_CUSTOMERS,
    CONTRACTION,
    ENTERING,
    EXPANSION,
    LEAVING,
    MOVED,
    MOVED_IN_PAIRS,
    NEW_BUSINESS,
    NEW_CUSTOMERS,
    REACTIVATION,
)
from libs.common.figures.operands import FIRST_READ, MRR, MRR_AT_START, Listing, Operand, Taken, Unit
from libs.common.figures.rates import Fx

_NET: Final = (NEW_BUSINESS, REACTIVATION, EXPANSION, CONTRACTION, CHURN)
_NET_WRITTEN: Final = "new_business + reactivation + expansion + contraction + churn"
_NET_EXAMPLE: Final[dict[Operand, int]] = {
    NEW_BUSINESS: 40_000_000,
    REACTIVATION: 5_000_000,
    EXPANSION: 20_000_000,
    CONTRACTION: -10_000_000,
    CHURN: -15_000_000,
}
_CAUSES: Final = tuple(CHURN_BY_CAUSE.values())


def _net(of: Operands) -> int:
    return sum(of[operand] for operand in _NET)


def _growth(of: Operands) -> Value:
    return Fraction(_net(of), of[MRR_AT_START]) if of[MRR_AT_START] > 0 else Reason.NO_MRR_AT_START


def _quick_ratio(of: Operands) -> Value:
    lost = -(of[CONTRACTION] + of[CHURN])
    return Fraction(of[NEW_BUSINESS] + of[EXPANSION], lost) if lost else Reason.NOTHING_LOST


def _price(of: Operands) -> Value:
    return Fraction(of[NEW_BUSINESS], of[NEW_CUSTOMERS]) if of[NEW_CUSTOMERS] else Reason.NO_NEW_CUSTOMERS


def _parts(moved: Operand) -> tuple[tuple[str, tuple[Operand, ...]], ...]:
    """Return the series of the bridge but for its end."""
    return (
        ("start", (MRR_AT_START,)),
        ("new_business", (NEW_BUSINESS,)),
        ("reactivation", (REACTIVATION,)),
        ("expansion", (EXPANSION,)),
        ("contraction", (CONTRACTION,)),
        ("churn", (CHURN,)),
        ("entering", (ENTERING, FIRST_READ)),
        ("leaving", (LEAVING,)),
        ("moved", (moved,)),
    )


def _explained(of: Operands, moved: Operand = MOVED) -> int:
    return _net(of) + of[FIRST_READ] + of[ENTERING] + of[LEAVING] + of[moved]


def _rest(name: str, title: str, moved: Operand) -> Operand:
    """Return what remains between start and end."""
    return Operand(
        name=name,
        title=title,
        unit=Unit.MONEY,
        relation=MRR.relation,
        measure="",
        sql="",
        listing=Listing.SUBSCRIPTIONS,
        taken=Taken.WITHIN,
        derived=lambda of: of[MRR] - of[MRR_AT_START] - _explained(of, moved),
    )


_BRIDGE: Final = Metric(
    slug="mrr_bridge",
    title="MRR bridge",
    unit=Unit.MONEY,
    good=Good.UP,
    version=1,
    operands=(MRR_AT_START, *_NET, FIRST_READ, ENTERING, LEAVING, MOVED, MRR),
    formula=_explained,
    words="What led from the MRR at the start of the period to that at its end. The movements add up exactly. What a plan switch moves "
    "from one part to another enters and leaves, and is neither churn nor new business.",
    written=f"{_NET_WRITTEN} + first_read + entering + leaving + moved",
    example=(
        {
            MRR_AT_START: 100_000_000,
            **_NET_EXAMPLE,
            FIRST_READ: 0,
            ENTERING: 3_000_000,
            LEAVING: -1_000_000,
            MOVED: 0,
            MRR: 142_000_000,
        },
        42_000_000,
    ),
    breakdown=Breakdown("movement", (*_parts(MOVED), ("end", (MRR,)))),
)


def _converted(name: str, title: str, moved: Operand, words: str) -> Metric:
    """Return the bridge of converted amounts, in which something remains."""
    rest = _rest(name, title, moved)
    amounts = {operand: amount for operand, amount in _BRIDGE.example[0].items() if operand is not MOVED}
    return replace(
        _BRIDGE,
        operands=(MRR_AT_START, *_NET, FIRST_READ, ENTERING, LEAVING, moved, rest, MRR),
        formula=lambda of: of[MRR] - of[MRR_AT_START],
        words=f"{_BRIDGE.words} {words}",
        written="mrr - mrr_at_start",
        example=({**amounts, moved: 0, rest: -1_000_000, MRR: 141_000_000}, 41_000_000),
        breakdown=Breakdown("movement", (*_parts(moved), (name, (rest,)), ("end", (MRR,)))),
    )


_CONVERTED_BRIDGES: Final = {
    Fx.DAILY: _converted(
        "fx",
        "Change of exchange rates",
        MOVED_IN_PAIRS,
        "Balances are converted at the rate of their day, movements at that of theirs. What remains is the change of exchange rates.",
    ),
    # One rate for all days leaves nothing but fractions of a micro, because each amount is rounded once.
    Fx.CONSTANT: _converted(
        "rounding",
        "Rounding",
        MOVED,
        "All days are converted at the rates of today. What remains is rounding.",
    ),
}

MOVEMENT_METRICS: Final = (
    replace(_BRIDGE, converted=_CONVERTED_BRIDGES),
    Metric(
        slug="net_new_mrr",
        title="Net new MRR",
        unit=Unit.MONEY,
        good=Good.UP,
        version=1,
        operands=_NET,
        formula=_net,
        words="The sum of all that was won and lost in the period.",
        written=_NET_WRITTEN,
        example=(_NET_EXAMPLE, 40_000_000),
    ),
    Metric(
        slug="mrr_growth_rate",
        title="MRR growth rate",
        unit=Unit.RATIO,
        good=Good.UP,
        version=1,
        operands=(*_NET, MRR_AT_START),
        formula=_growth,
        words="Net new MRR as a share of the MRR at the start of the period.",
        written=f"({_NET_WRITTEN}) / mrr_at_start",
        example=({**_NET_EXAMPLE, MRR_AT_START: 100_000_000}, Fraction(2, 5)),
    ),
    Metric(
        slug="quick_ratio",
        title="Quick ratio",
        unit=Unit.RATIO,
        good=Good.UP,
        version=1,
        operands=(NEW_BUSINESS, EXPANSION, CONTRACTION, CHURN),
        formula=_quick_ratio,
        words="How much new business and expansion there was for each unit of MRR that was lost. Reactivation is left out.",
        written="(new_business + expansion) / -(contraction + churn)",
        example=(
            {NEW_BUSINESS: 40_000_000, EXPANSION: 20_000_000, CONTRACTION: -10_000_000, CHURN: -15_000_000},
            Fraction(12, 5),
        ),
    ),
    Metric(
        slug="new_customers",
        title="New customers",
        unit=Unit.COUNT,
        good=Good.UP,
        version=1,
        operands=(NEW_CUSTOMERS,),
        formula=lambda of: of[NEW_CUSTOMERS],
        words="Customers whose MRR was above 0 for the first time.",
        written="new_customers",
        example=({NEW_CUSTOMERS: 4}, 4),
    ),
    Metric(
        slug="churned_customers",
        title="Customers that left",
        unit=Unit.COUNT,
        good=Good.DOWN,
        version=1,
        operands=(CHURNED_CUSTOMERS,),
        formula=lambda of: of[CHURNED_CUSTOMERS],
        words="How often the MRR of a customer fell to 0. A customer that leaves, comes back and leaves again counts twice.",
        written="churned_customers",
        example=({CHURNED_CUSTOMERS: 2}, 2),
    ),
    Metric(
        slug="asp",
        title="Average MRR of a new customer",
        unit=Unit.MONEY,
        good=Good.UP,
        version=1,
        operands=(NEW_BUSINESS, NEW_CUSTOMERS),
        formula=_price,
        words="New business per new customer.",
        written="new_business / new_customers",
        example=({NEW_BUSINESS: 40_000_000, NEW_CUSTOMERS: 3}, Fraction(40_000_000, 3)),
    ),
    Metric(
        slug="churn_by_cause",
        title="Churn by cause",
        unit=Unit.MONEY,
        good=Good.UP,
        version=1,
        operands=_CAUSES,
        formula=lambda of: sum(of[operand] for operand in _CAUSES),
        words="Why MRR was lost with customers that left. Amounts are negative.",
        written=" + ".join(operand.name for operand in _CAUSES),
        example=({operand: -1_000_000 * number for number, operand in enumerate(_CAUSES)}, -15_000_000),
        breakdown=Breakdown("cause", tuple((cause, (operand,)) for cause, operand in CHURN_BY_CAUSE.items())),
    ),
)

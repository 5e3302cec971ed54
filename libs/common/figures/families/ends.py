"""MRR that may end soon: what is overdue or suspended, and what is not to renew."""

from typing import Final

from libs.common.figures.end_operands import ENDS
from libs.common.figures.end_parts import AT_RISK, SCHEDULED
from libs.common.figures.metric import Breakdown, Good, Metric, Operands
from libs.common.figures.operands import MRR, Operand, Unit

_AT_RISK: Final = tuple(ENDS[part] for part in AT_RISK)
_SCHEDULED: Final = tuple(ENDS[part] for part in SCHEDULED)
_NEWEST: Final = "It is known for the newest day only."


def _sum(of: Operands, operands: tuple[Operand, ...]) -> int:
    return sum(of[operand] for operand in operands)


def _written(operands: tuple[Operand, ...]) -> str:
    return " + ".join(operand.name for operand in operands)


def _example(operands: tuple[Operand, ...]) -> dict[Operand, int]:
    return {operand: 1_000_000 * number for number, operand in enumerate(operands, 1)}


END_METRICS: Final = (
    Metric(
        slug="mrr_at_risk",
        title="MRR at risk",
        unit=Unit.MONEY,
        good=Good.DOWN,
        version=1,
        operands=_AT_RISK,
        formula=lambda of: _sum(of, _AT_RISK),
        words=f"MRR of subscriptions that still count, but are past due or suspended. {_NEWEST}",
        written=_written(_AT_RISK),
        example=(_example(_AT_RISK), 10_000_000),
        breakdown=Breakdown(
            "overdue", tuple((part.removeprefix("overdue_"), (ENDS[part],)) for part in AT_RISK)
        ),
    ),
    Metric(
        slug="scheduled_churn",
        title="Scheduled churn",
        unit=Unit.MONEY,
        good=Good.DOWN,
        version=1,
        operands=_SCHEDULED,
        formula=lambda of: _sum(of, _SCHEDULED),
        words="MRR of subscriptions that still count, but are not to renew: they have an open cancellation request, or are domains that "
        f"are marked so. {_NEWEST}",
        written=_written(_SCHEDULED),
        example=(_example(_SCHEDULED), 10_000_000),
        breakdown=Breakdown(
            "ending", tuple((part.removeprefix("ending_"), (ENDS[part],)) for part in SCHEDULED)
        ),
    ),
    Metric(
        slug="contracted_mrr",
        title="MRR without scheduled churn",
        unit=Unit.MONEY,
        good=Good.UP,
        version=1,
        operands=(MRR, *_SCHEDULED),
        formula=lambda of: of[MRR] - _sum(of, _SCHEDULED),
        words=f"MRR that remains once all subscriptions have ended that are not to renew. {_NEWEST}",
        written=f"mrr - ({_written(_SCHEDULED)})",
        example=({MRR: 100_000_000, **_example(_SCHEDULED)}, 90_000_000),
    ),
)

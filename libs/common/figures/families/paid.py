"""What customers paid for, and how it differs from what is agreed."""

from typing import Final

from libs.common.figures.gap_operands import GAP_PARTS, PAID_MRR
from libs.common.figures.metric import Breakdown, Good, Metric
from libs.common.figures.operands import Unit

_PARTS: Final = tuple(GAP_PARTS.values())

PAID: Final = (
    Metric(
        slug="paid_mrr",
        title="Paid MRR",
        unit=Unit.MONEY,
        good=Good.UP,
        version=1,
        operands=(PAID_MRR,),
        formula=lambda of: of[PAID_MRR],
        words="Monthly recurring revenue for which invoices are paid.",
        written="paid_mrr",
        example=({PAID_MRR: 1_200_000_000}, 1_200_000_000),
    ),
    Metric(
        slug="mrr_gap",
        title="Gap between MRR and paid MRR",
        unit=Unit.MONEY,
        good=Good.DOWN,
        version=1,
        operands=_PARTS,
        formula=lambda of: sum(of[operand] for operand in _PARTS),
        words="MRR by contract less paid MRR. Its five parts add up exactly.",
        written=" + ".join(operand.name for operand in _PARTS),
        example=({operand: 1_000_000 * number for number, operand in enumerate(_PARTS)}, 10_000_000),
        breakdown=Breakdown("part", tuple((part, (operand,)) for part, operand in GAP_PARTS.items())),
    ),
)

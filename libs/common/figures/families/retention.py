"""How many of the customers at the start of a period, and how much of their MRR, are still there at its end."""

from fractions import Fraction
from typing import Final

from libs.common.figures.metric import Good, Metric, Reason, Value
from libs.common.figures.movement_operands import STARTER_CHURN, STARTER_CONTRACTION, STARTER_EXPANSION
from libs.common.figures.operands import (
    CUSTOMERS_AT_START,
    CUSTOMERS_LOST,
    MRR_GAINED,
    MRR_LOST,
    STARTER_MRR,
    Unit,
)


def _ratio(part: int, whole: int, empty: Reason) -> Value:
    return Fraction(part, whole) if whole > 0 else empty


RETENTION: Final = (
    Metric(
        slug="gross_revenue_retention",
        title="Gross revenue retention",
        unit=Unit.RATIO,
        good=Good.UP,
        version=2,
        operands=(STARTER_MRR, MRR_LOST),
        formula=lambda of: _ratio(of[STARTER_MRR] - of[MRR_LOST], of[STARTER_MRR], Reason.NO_MRR_AT_START),
        words="Of the MRR at the start of the period, the share that the same customers still pay at its end. Never above 100 %.",
        written="(starter_mrr - mrr_lost) / starter_mrr",
        example=({STARTER_MRR: 100_000_000, MRR_LOST: 5_000_000}, Fraction(95, 100)),
    ),
    Metric(
        slug="net_revenue_retention",
        title="Net revenue retention",
        unit=Unit.RATIO,
        good=Good.UP,
        version=2,
        operands=(STARTER_MRR, MRR_LOST, MRR_GAINED),
        formula=lambda of: _ratio(
            of[STARTER_MRR] - of[MRR_LOST] + of[MRR_GAINED], of[STARTER_MRR], Reason.NO_MRR_AT_START
        ),
        words="What the customers at the start of the period pay at its end, as a share of their MRR at its start. New customers and "
        "customers who came back do not count.",
        written="(starter_mrr - mrr_lost + mrr_gained) / starter_mrr",
        example=(
            {STARTER_MRR: 100_000_000, MRR_LOST: 5_000_000, MRR_GAINED: 8_000_000},
            Fraction(103, 100),
        ),
    ),
    Metric(
        slug="gross_mrr_churn_rate",
        title="Gross MRR churn rate",
        unit=Unit.RATIO,
        good=Good.DOWN,
        version=2,
        operands=(STARTER_MRR, STARTER_CHURN, STARTER_CONTRACTION),
        formula=lambda of: _ratio(
            -(of[STARTER_CHURN] + of[STARTER_CONTRACTION]), of[STARTER_MRR], Reason.NO_MRR_AT_START
        ),
        words="All churn and contraction of the customers who paid at the start of the period, as a share of their MRR then. What is lost "
        "and won back within the period counts as lost.",
        written="-(starter_churn + starter_contraction) / starter_mrr",
        example=(
            {STARTER_MRR: 100_000_000, STARTER_CHURN: -4_000_000, STARTER_CONTRACTION: -1_000_000},
            Fraction(5, 100),
        ),
    ),
    Metric(
        slug="net_mrr_churn_rate",
        title="Net MRR churn rate",
        unit=Unit.RATIO,
        good=Good.DOWN,
        version=2,
        operands=(STARTER_MRR, STARTER_CHURN, STARTER_CONTRACTION, STARTER_EXPANSION),
        formula=lambda of: _ratio(
            -(of[STARTER_CHURN] + of[STARTER_CONTRACTION] + of[STARTER_EXPANSION]),
            of[STARTER_MRR],
            Reason.NO_MRR_AT_START,
        ),
        words="Gross MRR churn less the expansion of the same customers. Below 0 if they grew by more than was lost.",
        written="-(starter_churn + starter_contraction + starter_expansion) / starter_mrr",
        example=(
            {
                STARTER_MRR: 100_000_000,
                STARTER_CHURN: -4_000_000,
                STARTER_CONTRACTION: -1_000_000,
                STARTER_EXPANSION: 8_000_000,
            },
            Fraction(-3, 100),
        ),
    ),
    Metric(
        slug="customer_churn_rate",
        title="Customer churn rate",
        unit=Unit.RATIO,
        good=Good.DOWN,
        version=2,
        operands=(CUSTOMERS_AT_START, CUSTOMERS_LOST),
        formula=lambda of: _ratio(of[CUSTOMERS_LOST], of[CUSTOMERS_AT_START], Reason.NO_CUSTOMERS_AT_START),
        words="Of the customers at the start of the period, the share whose MRR is 0 at its end.",
        written="customers_lost / customers_at_start",
        example=({CUSTOMERS_AT_START: 40, CUSTOMERS_LOST: 1}, Fraction(1, 40)),
    ),
)

"""Explanations: how a figure was computed, from what, and how to ask for it again."""

from fastapi import APIRouter

from libs.common.contracts.lenses import Lens
from libs.common.figures.rates import NATIVE, Fx
from services.gateway.api.questions import (
    ByLens,
    ByRates,
    Currency,
    GroupBy,
    InInstances,
    InLimits,
    OnDay,
    Reader,
    StartDay,
    groups_of,
    metric_of,
    refuse_limits,
    target_of,
)
from services.gateway.context import ContextDependency
from services.gateway.explanations import ExplainedMetric, explained

router = APIRouter(prefix="/explain", tags=["metrics"])


@router.get("/{slug}")
async def explain_metric(
    context: ContextDependency,
    principal: Reader,
    slug: str,
    start: StartDay = None,
    on: OnDay = None,
    group_by: GroupBy = None,
    currency: Currency = NATIVE,
    fx: ByRates = Fx.DAILY,
    lens: ByLens = Lens.CONTRACT,
    limits: InLimits = (),
    instance_ids: InInstances = None,
) -> ExplainedMetric:
    """Explain how the figure of a day is computed: formula, numbers with their lists, settings, omissions and sources.

    The point of a week or a month is its last day, so explain that day. A metric of periods needs `start` as well.
    """
    metric = metric_of(slug)
    groups = groups_of(metric, group_by or [])
    refuse_limits(metric, limits)
    return await explained(
        context,
        principal,
        metric,
        on,
        groups,
        lens=lens,
        instance_ids=instance_ids or [],
        start=start,
        limits=limits,
        target=target_of(currency, fx),
    )

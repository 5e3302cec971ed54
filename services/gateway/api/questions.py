"""The parameters of questions about figures: metric, groups, currency, lens and instances."""

from datetime import date
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Query

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import NATIVE
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.coverage import last_known_day
from libs.common.figures.metric import Metric
from libs.common.figures.relations import Group
from services.gateway.api.caller import ApiCaller
from services.gateway.context import Context
from services.gateway.errors import Invalid, NotFound
from services.gateway.figures import freshness
from services.gateway.principals import Principal

_MOST_GROUPS: Final = 20
_MOST_INSTANCES: Final = 200

Reader = Annotated[Principal, Depends(ApiCaller("metrics:read"))]
# Lists name single customers, which not everybody may see who sees the sums.
CustomersReader = Annotated[Principal, Depends(ApiCaller("customers:read"))]
GroupBy = Annotated[
    list[str] | None,
    Query(max_length=_MOST_GROUPS, description=f"Of {', '.join(Group)}; repeated, or separated by commas."),
]
Currency = Annotated[str, Query(description="`native`: each subscription's own; money is grouped by it.")]
OnDay = Annotated[date | None, Query(description="The day; without it, the newest that is known.")]
StartDay = Annotated[
    date | None, Query(description="First day of the period; without it, the first of the month.")
]
EndDay = Annotated[date | None, Query(description="Last day; without it, the newest that is known.")]
ByLens = Annotated[Lens, Query(description="What counts as live.")]
InInstances = Annotated[
    list[UUID] | None,
    Query(
        alias="filter[instance]", max_length=_MOST_INSTANCES, description="Only these instances; repeated."
    ),
]


def metric_of(slug: str) -> Metric:
    """Return a metric by its name; raise NotFound for any other."""
    if slug not in BY_SLUG:
        raise NotFound(
            "metric_unknown", f"There is no metric {slug:.40}. Choose one of {', '.join(BY_SLUG)}."
        )
    return BY_SLUG[slug]


def groups_of(metric: Metric, given: list[str]) -> tuple[Group, ...]:
    """Return the groups that a metric is asked to be split by; raise Invalid for one that it does not have."""
    names = [name.strip() for value in given for name in value.split(",") if name.strip()]
    if not set(names) <= set(metric.groups):
        raise Invalid("group_unknown", f"Group by any of {', '.join(metric.groups)}.", "group_by")
    return tuple(Group(name) for name in names)


def refuse_conversion(currency: str) -> None:
    """Raise Invalid unless amounts stay in their own currency."""
    if currency != NATIVE:
        raise Invalid(
            "currency_unknown", "Figures are in their own currency for now: use currency=native.", "currency"
        )


async def newest_day(context: Context, principal: Principal, instance_ids: list[UUID]) -> date:
    """Return the newest day for which figures of these instances are known; raise NotFound for an unknown instance."""
    return last_known_day(await freshness(context, principal, instance_ids), context.clock())

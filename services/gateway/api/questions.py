"""The parameters of questions about figures: metric, groups, currency, lens and instances."""

from datetime import date
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import Depends, Query
from pydantic import Field

from libs.common.contracts.lenses import Lens
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.coverage import last_known_day
from libs.common.figures.groups import Group, Limits, limits_of
from libs.common.figures.metric import Metric
from libs.common.figures.rates import NATIVE, Fx, Target
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
Currency = Annotated[
    str,
    Query(
        max_length=16,
        description="`native`: each subscription's own; money is grouped by it. `reporting`, or a code such as EUR: amounts are converted.",
    ),
]
ByRates = Annotated[
    Fx,
    Query(
        description="Rates of converted amounts: `daily`, those of each day, or `constant`, those of today for all days."
    ),
]
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
_MOST_VALUES: Final = 100
_MOST_AMONG: Final = 6
_Values = list[Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=600)]]


def _only(group: Group, words: str) -> Any:
    """Return the parameter of a filter."""
    text = f"Only {words}, by the keys that `group_by={group}` shows; repeated: any of them."
    return Query(alias=f"filter[{group}]", max_length=_MOST_VALUES, description=text)


def _limits(
    kind: Annotated[_Values | None, _only(Group.KIND, "subscriptions of this kind")] = None,
    product: Annotated[_Values | None, _only(Group.PRODUCT, "those of this product")] = None,
    product_group: Annotated[
        _Values | None, _only(Group.PRODUCT_GROUP, "those of this product group")
    ] = None,
    cycle: Annotated[_Values | None, _only(Group.CYCLE, "those of this cycle")] = None,
    currency: Annotated[_Values | None, _only(Group.CURRENCY, "those in this currency")] = None,
    country: Annotated[_Values | None, _only(Group.COUNTRY, "customers of this country")] = None,
    customer_group: Annotated[_Values | None, _only(Group.CUSTOMER_GROUP, "customers of this group")] = None,
    payment_method: Annotated[_Values | None, _only(Group.PAYMENT_METHOD, "those paid this way")] = None,
    promotion: Annotated[_Values | None, _only(Group.PROMOTION, "those with this promotion")] = None,
) -> Limits:
    return limits_of(
        {
            Group.KIND: kind or (),
            Group.PRODUCT: product or (),
            Group.PRODUCT_GROUP: product_group or (),
            Group.CYCLE: cycle or (),
            Group.CURRENCY: currency or (),
            Group.COUNTRY: country or (),
            Group.CUSTOMER_GROUP: customer_group or (),
            Group.PAYMENT_METHOD: payment_method or (),
            Group.PROMOTION: promotion or (),
        }
    )


Among = Annotated[
    list[Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=2_000)]] | None,
    Query(
        max_length=_MOST_AMONG,
        description="Several filters side by side, repeated: each is filters joined by &, such as `country=PT&kind=service`, escaped. "
        "Its series have it in the group `among`.",
    ),
]
InLimits = Annotated[Limits, Depends(_limits)]


def refuse_limits(metric: Metric, limits: Limits) -> None:
    """Raise Invalid for a limit that the metric does not have."""
    for group, _ in limits:
        if group not in metric.filters:
            raise Invalid(
                "filter_unavailable",
                f"{metric.title} cannot be limited by {group.replace('_', ' ')}. Use any of {', '.join(metric.filters)}.",
                f"filter[{group}]",
            )


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


def target_of(currency: str, fx: Fx) -> Target | None:
    """Return the currency into which amounts are converted; None if they stay in their own."""
    return None if currency == NATIVE else Target(currency, fx)


async def newest_day(context: Context, principal: Principal, instance_ids: list[UUID]) -> date:
    """Return the newest day for which figures of these instances are known; raise NotFound for an unknown instance."""
    return last_known_day(await freshness(context, principal, instance_ids), context.clock())


def among_of(metric: Metric, limits: Limits, given: list[str]) -> dict[str, Limits]:
    """Return the limits of each filter set by its text; each adds to `limits` or narrows them. Raise Invalid for any other text."""
    return {text: limits_of({**dict(limits), **_filters_in(metric, text)}) for text in given}


def _filters_in(metric: Metric, text: str) -> dict[Group, list[str]]:
    values: dict[Group, list[str]] = {}
    try:
        pairs = parse_qsl(text, strict_parsing=True, max_num_fields=_MOST_VALUES)
        for name, value in pairs:
            values.setdefault(Group(name), []).append(value)
    except ValueError as error:
        raise Invalid(
            "among_invalid",
            "Write each `among` as filters joined by &, such as country=PT&kind=service, and escape it: "
            f"among=country%3DPT%26kind%3Dservice. Filters are {', '.join(metric.filters)}.",
            "among",
        ) from error
    refuse_limits(metric, limits_of(values))
    return values

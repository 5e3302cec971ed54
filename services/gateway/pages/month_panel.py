"""What changed in a month: its waterfall and its largest movements, as the overview and the page of MRR show them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from libs.common.figures.answers import Series
from libs.common.figures.groups import Group, limits_of
from libs.common.figures.movement_list import MovementSelection
from services.gateway.context import Context
from services.gateway.figures import movements
from services.gateway.pages.bridge import Month, Waterfall, waterfall
from services.gateway.pages.filters import Filters
from services.gateway.pages.movements import Row, rows_of
from services.gateway.principals import Principal

_LARGEST: Final = 5


@dataclass(frozen=True, slots=True)
class MonthPanel:
    """A month in one currency. `largest` is empty for people who may not see customers; `href` leads to all movements."""

    month: Month
    currency: str
    waterfall: Waterfall
    largest: list[Row]
    href: str


async def month_panel(
    context: Context,
    principal: Principal,
    filters: Filters,
    month: Month,
    currency: str,
    products: Mapping[str, str],
) -> MonthPanel:
    """Return what changed in a month. `products` are the names of products, by key."""
    listed = []
    if principal.may("customers:read"):
        listed = await movements(
            context,
            principal,
            MovementSelection(
                month.starts_on,
                month.on,
                limits=limits_of({} if filters.target else {Group.CURRENCY: [currency]}),
                target=filters.target,
            ),
            None,
            _LARGEST,
            lens=filters.counting,
            instance_ids=[filters.instance_id] if filters.instance_id else [],
        )
    days = {"start": str(month.starts_on), "end": str(month.on)}
    return MonthPanel(
        month=month,
        currency=currency,
        waterfall=waterfall(month),
        largest=await rows_of(context, principal, listed, products),
        href=f"{principal.home}/mrr/movements{filters.address_of(currency, **days)}",
    )


def names_of_products(listed: Iterable[Series]) -> dict[str, str]:
    """Return the names of the products by which an answer is split, by key."""
    return {
        series.group["product"]: series.names["product"] for series in listed if "product" in series.names
    }

"""The items behind a figure: the subscriptions and the customers that count on a day."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from pydantic import Field, TypeAdapter

from libs.common.contracts.lenses import Lens
from libs.common.figures.lists import (
    ChangedCustomer,
    ChangedCustomerKey,
    Customer,
    CustomerKey,
    Period,
    Selection,
    Subscription,
    SubscriptionKey,
)
from libs.common.figures.operands import Outcome
from libs.common.figures.relations import Group
from services.gateway import figures
from services.gateway.api.questions import (
    ByLens,
    CustomersReader,
    EndDay,
    InInstances,
    OnDay,
    StartDay,
    newest_day,
)
from services.gateway.context import ContextDependency
from services.gateway.paging import Cursor, Limit, Page, key_of, page_of

router = APIRouter(tags=["metrics"])

_SUBSCRIPTION_KEY: Final = TypeAdapter(SubscriptionKey)
_CUSTOMER_KEY: Final = TypeAdapter(CustomerKey)
_CHANGED_CUSTOMER_KEY: Final = TypeAdapter(ChangedCustomerKey)

OfKind = Annotated[
    Literal["service", "addon", "domain"] | None,
    Query(alias="filter[kind]", description="Only subscriptions of this kind."),
]
_Text = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=600)]
OfProduct = Annotated[
    _Text | None,
    Query(alias="filter[product]", description="Only those of this product, by its key in a figure."),
]
OfCycle = Annotated[_Text | None, Query(alias="filter[cycle]", description="Only those of this cycle.")]
OfCurrency = Annotated[
    _Text | None, Query(alias="filter[currency]", description="Only those in this currency.")
]
OfOutcome = Annotated[
    Outcome | None,
    Query(
        description="`left`: no subscription counts any more; `lost`: pays less; `gained`: paid at the start and pays more. Without it all."
    ),
]


@router.get("/subscriptions")
async def list_subscriptions(
    context: ContextDependency,
    principal: CustomersReader,
    on: OnDay = None,
    kind: OfKind = None,
    product: OfProduct = None,
    cycle: OfCycle = None,
    currency: OfCurrency = None,
    lens: ByLens = Lens.CONTRACT,
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Subscription]:
    """List the subscriptions that count on a day, the largest first. Their MRR sums to `mrr`, their number is `subscriptions`."""
    selection = Selection(on, _group(kind, product, cycle, currency))
    after = key_of(cursor, _SUBSCRIPTION_KEY)
    rows = await figures.subscriptions(
        context, principal, selection, after, limit + 1, lens=lens, instance_ids=instance_ids or []
    )
    return page_of(rows, limit, lambda row: tuple(row.key))


@router.get("/customers")
async def list_customers(
    context: ContextDependency,
    principal: CustomersReader,
    on: OnDay = None,
    kind: OfKind = None,
    product: OfProduct = None,
    cycle: OfCycle = None,
    currency: OfCurrency = None,
    lens: ByLens = Lens.CONTRACT,
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Customer]:
    """List the customers with a subscription that counts on a day, the largest first. Their number is `customers`."""
    selection = Selection(on, _group(kind, product, cycle, currency))
    after = key_of(cursor, _CUSTOMER_KEY)
    rows = await figures.customers(
        context, principal, selection, after, limit + 1, lens=lens, instance_ids=instance_ids or []
    )
    return page_of(rows, limit, lambda row: tuple(row.key))


@router.get("/customer-changes")
async def list_customer_changes(
    context: ContextDependency,
    principal: CustomersReader,
    start: StartDay = None,
    end: EndDay = None,
    outcome: OfOutcome = None,
    kind: OfKind = None,
    product: OfProduct = None,
    cycle: OfCycle = None,
    currency: OfCurrency = None,
    lens: ByLens = Lens.CONTRACT,
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ChangedCustomer]:
    """List the customers whose MRR or number of subscriptions changed in a period, the largest change of MRR first."""
    last = end or await newest_day(context, principal, instance_ids or [])
    period = Period(start or last.replace(day=1), last, outcome, _group(kind, product, cycle, currency))
    after = key_of(cursor, _CHANGED_CUSTOMER_KEY)
    rows = await figures.changed_customers(
        context, principal, period, after, limit + 1, lens=lens, instance_ids=instance_ids or []
    )
    return page_of(rows, limit, lambda row: tuple(row.key))


def _group(
    kind: str | None, product: str | None, cycle: str | None, currency: str | None
) -> dict[Group, str]:
    values = {Group.KIND: kind, Group.PRODUCT: product, Group.CYCLE: cycle, Group.CURRENCY: currency}
    return {group: value for group, value in values.items() if value is not None}

"""The items behind a figure: the subscriptions and the customers that count on a day."""

from datetime import date
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field, TypeAdapter

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import MovementKind, MovementReason
from libs.common.contracts.restatements import RestatementCause
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
from libs.common.figures.movement_list import Movement, MovementKey, MovementSelection
from libs.common.figures.operands import Outcome
from libs.common.figures.restatement_list import Restatement, RestatementKey, RestatementSelection
from services.gateway import figures
from services.gateway.api.questions import (
    ByLens,
    CustomersReader,
    EndDay,
    InInstances,
    InLimits,
    OnDay,
    Reader,
    StartDay,
    newest_day,
)
from services.gateway.context import ContextDependency
from services.gateway.paging import Cursor, Limit, Page, key_of, page_of

router = APIRouter(tags=["metrics"])

_SUBSCRIPTION_KEY: Final = TypeAdapter(SubscriptionKey)
_CUSTOMER_KEY: Final = TypeAdapter(CustomerKey)
_CHANGED_CUSTOMER_KEY: Final = TypeAdapter(ChangedCustomerKey)
_MOVEMENT_KEY: Final = TypeAdapter(MovementKey)
_RESTATEMENT_KEY: Final = TypeAdapter(RestatementKey)

OfOutcome = Annotated[
    Outcome | None,
    Query(
        description="`left`: the MRR is 0 now; `lost`: pays less; `gained`: pays more. All three paid at the start. Without it all."
    ),
]
WithDiscounts = Annotated[
    bool,
    Query(
        description="`false` leaves out subscriptions with a negative amount: they lower MRR and are no subscriptions."
    ),
]
OfMovements = Annotated[
    list[MovementKind] | None, Query(max_length=10, description="Only these movements; repeated.")
]
OfReasons = Annotated[
    list[MovementReason] | None,
    Query(max_length=20, description="Only movements for these reasons; repeated."),
]
AtStart = Annotated[
    bool, Query(description="Only movements of customers with MRR on the day before the period.")
]

OfCauses = Annotated[
    list[RestatementCause] | None, Query(max_length=10, description="Only for these causes; repeated.")
]
FirstDay = Annotated[date | None, Query(description="Only what changed this day or a later one.")]
LastDay = Annotated[date | None, Query(description="Only what changed this day or an earlier one.")]
OfCurrencies = Annotated[
    list[Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=20)]] | None,
    Query(alias="filter[currency]", max_length=100, description="Only in these currencies; repeated."),
]


@router.get("/subscriptions")
async def list_subscriptions(
    context: ContextDependency,
    principal: CustomersReader,
    on: OnDay = None,
    lens: ByLens = Lens.CONTRACT,
    discounts: WithDiscounts = True,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Subscription]:
    """List the subscriptions that count on a day, the largest first. Their MRR sums to `mrr`.

    Those with `discounts=false` are the number `subscriptions`.
    """
    selection = Selection(on, limits, discounts)
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
    lens: ByLens = Lens.CONTRACT,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Customer]:
    """List the customers whose MRR is above 0 on a day, the largest first. Their number is `customers`."""
    selection = Selection(on, limits)
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
    lens: ByLens = Lens.CONTRACT,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ChangedCustomer]:
    """List the customers whose MRR or number of subscriptions changed in a period, the largest change of MRR first."""
    last = end or await newest_day(context, principal, instance_ids or [])
    period = Period(start or last.replace(day=1), last, outcome, limits)
    after = key_of(cursor, _CHANGED_CUSTOMER_KEY)
    rows = await figures.changed_customers(
        context, principal, period, after, limit + 1, lens=lens, instance_ids=instance_ids or []
    )
    return page_of(rows, limit, lambda row: tuple(row.key))


@router.get("/movements")
async def list_movements(
    context: ContextDependency,
    principal: CustomersReader,
    start: StartDay = None,
    end: EndDay = None,
    movement: OfMovements = None,
    reason: OfReasons = None,
    at_start: AtStart = False,
    lens: ByLens = Lens.CONTRACT,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Movement]:
    """List what changed the MRR of customers in a period, the largest amount first. The amounts of a movement sum to its figure."""
    last = end or await newest_day(context, principal, instance_ids or [])
    selection = MovementSelection(
        start or last.replace(day=1),
        last,
        tuple(movement) if movement else None,
        tuple(reason) if reason else None,
        at_start,
        limits,
    )
    after = key_of(cursor, _MOVEMENT_KEY)
    rows = await figures.movements(
        context, principal, selection, after, limit + 1, lens=lens, instance_ids=instance_ids or []
    )
    return page_of(rows, limit, lambda row: tuple(row.key))


@router.get("/restatements")
async def list_restatements(
    context: ContextDependency,
    principal: Reader,
    start: FirstDay = None,
    end: LastDay = None,
    cause: OfCauses = None,
    currencies: OfCurrencies = None,
    lens: ByLens = Lens.CONTRACT,
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Restatement]:
    """List the changes of closed days, the newest first. What a closed day showed, and its changes since, add up to its figure."""
    selection = RestatementSelection(start, end, cause, currencies)
    after = key_of(cursor, _RESTATEMENT_KEY)
    rows = await figures.restatements(
        context, principal, selection, after, limit + 1, lens=lens, instance_ids=instance_ids or []
    )
    return page_of(rows, limit, lambda row: tuple(row.key))

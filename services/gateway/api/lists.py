"""The items behind a figure, such as the subscriptions that count on a day and the movements of a period."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from pydantic import Field, TypeAdapter

from libs.common.contracts.gaps import GapPart
from libs.common.contracts.issues import IssueReason
from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import MovementKind, MovementReason
from libs.common.contracts.restatements import RestatementCause
from libs.common.figures.gap_list import Gap, GapKey, GapSelection
from libs.common.figures.issue_list import Issue, IssueKey
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
from libs.common.figures.rates import NATIVE, Fx
from libs.common.figures.restatement_list import Restatement, RestatementKey, RestatementSelection
from services.gateway import figures
from services.gateway.api.forms import Form
from services.gateway.api.listing import InForm, Listing
from services.gateway.api.questions import (
    ByLens,
    ByRates,
    Currency,
    CustomersReader,
    EndDay,
    InInstances,
    InLimits,
    OnDay,
    Reader,
    StartDay,
    newest_day,
    target_of,
)
from services.gateway.context import ContextDependency
from services.gateway.paging import Cursor, Limit, Page, key_of, page_of

router = APIRouter(tags=["metrics"])

_SUBSCRIPTIONS: Final = Listing(Subscription, TypeAdapter(SubscriptionKey))
_CUSTOMERS: Final = Listing(Customer, TypeAdapter(CustomerKey))
_CHANGED_CUSTOMERS: Final = Listing(ChangedCustomer, TypeAdapter(ChangedCustomerKey))
_MOVEMENTS: Final = Listing(Movement, TypeAdapter(MovementKey))
_ISSUE_KEY: Final = TypeAdapter(IssueKey)
_RESTATEMENT_KEY: Final = TypeAdapter(RestatementKey)
_GAP_KEY: Final = TypeAdapter(GapKey)

OfPart = Annotated[GapPart | None, Query(description="Only this part of the gap. Without it all.")]
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
OfIssues = Annotated[
    list[IssueReason] | None,
    Query(alias="reason", max_length=20, description="Only for these reasons; repeated."),
]
OfCurrencies = Annotated[
    list[Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=20)]] | None,
    Query(alias="filter[currency]", max_length=100, description="Only in these currencies; repeated."),
]


@router.get(
    "/subscriptions",
    response_model=Page[Subscription],
    responses=_SUBSCRIPTIONS.described(
        "7c0a3b1e:service:2041,7c0a3b1e,service,77,7c0a3b1e:service:4,Business hosting,annually,active,EUR,12.500000,2026-10-02,"
    ),
)
async def list_subscriptions(
    context: ContextDependency,
    principal: CustomersReader,
    on: OnDay = None,
    currency: Currency = NATIVE,
    fx: ByRates = Fx.DAILY,
    lens: ByLens = Lens.CONTRACT,
    discounts: WithDiscounts = True,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    form: InForm = Form.JSON,
) -> Page[Subscription] | Response:
    """List the subscriptions that count on a day, the largest first. Their MRR sums to `mrr`.

    Those with `discounts=false` are the number `subscriptions`.
    """
    selection = Selection(on, limits, discounts, target_of(currency, fx))

    async def read(after: SubscriptionKey | None, number: int) -> Sequence[Subscription]:
        return await figures.subscriptions(
            context, principal, selection, after, number, lens=lens, instance_ids=instance_ids or []
        )

    return await _SUBSCRIPTIONS.answer(read, cursor, limit, form)


@router.get(
    "/customers",
    response_model=Page[Customer],
    responses=_CUSTOMERS.described("7c0a3b1e:customer:77,7c0a3b1e,77,EUR,19.950000,2"),
)
async def list_customers(
    context: ContextDependency,
    principal: CustomersReader,
    on: OnDay = None,
    currency: Currency = NATIVE,
    fx: ByRates = Fx.DAILY,
    lens: ByLens = Lens.CONTRACT,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    form: InForm = Form.JSON,
) -> Page[Customer] | Response:
    """List the customers whose MRR is above 0 on a day, the largest first. Their number in each currency is `customers` there.

    A customer with MRR in two currencies has a row in each.
    """
    selection = Selection(on, limits, target=target_of(currency, fx))

    async def read(after: CustomerKey | None, number: int) -> Sequence[Customer]:
        return await figures.customers(
            context, principal, selection, after, number, lens=lens, instance_ids=instance_ids or []
        )

    return await _CUSTOMERS.answer(read, cursor, limit, form)


@router.get(
    "/customer-changes",
    response_model=Page[ChangedCustomer],
    responses=_CHANGED_CUSTOMERS.described("7c0a3b1e:customer:77,7c0a3b1e,77,EUR,19.950000,12.500000,2,1"),
)
async def list_customer_changes(
    context: ContextDependency,
    principal: CustomersReader,
    start: StartDay = None,
    end: EndDay = None,
    outcome: OfOutcome = None,
    currency: Currency = NATIVE,
    fx: ByRates = Fx.DAILY,
    lens: ByLens = Lens.CONTRACT,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    form: InForm = Form.JSON,
) -> Page[ChangedCustomer] | Response:
    """List the customers whose MRR or number of subscriptions changed in a period, the largest change of MRR first."""
    last = end or await newest_day(context, principal, instance_ids or [])
    period = Period(start or last.replace(day=1), last, outcome, limits, target_of(currency, fx))

    async def read(after: ChangedCustomerKey | None, number: int) -> Sequence[ChangedCustomer]:
        return await figures.changed_customers(
            context, principal, period, after, number, lens=lens, instance_ids=instance_ids or []
        )

    return await _CHANGED_CUSTOMERS.answer(read, cursor, limit, form)


@router.get(
    "/movements",
    response_model=Page[Movement],
    responses=_MOVEMENTS.described(
        "7c0a3b1e:service:2041,7c0a3b1e,77,2026-11-12,1,service,expansion,upgrade,7.500000,EUR,7c0a3b1e:service:4,7c0a3b1e:service:3,7c0a3b1e:service:4,annually,,observed"
    ),
)
async def list_movements(
    context: ContextDependency,
    principal: CustomersReader,
    start: StartDay = None,
    end: EndDay = None,
    movement: OfMovements = None,
    reason: OfReasons = None,
    at_start: AtStart = False,
    currency: Currency = NATIVE,
    fx: ByRates = Fx.DAILY,
    lens: ByLens = Lens.CONTRACT,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    form: InForm = Form.JSON,
) -> Page[Movement] | Response:
    """List what changed the MRR of customers in a period, the largest amount first. The amounts of a movement sum to its figure."""
    last = end or await newest_day(context, principal, instance_ids or [])
    selection = MovementSelection(
        start or last.replace(day=1),
        last,
        tuple(movement) if movement else None,
        tuple(reason) if reason else None,
        at_start,
        limits,
        target_of(currency, fx),
    )

    async def read(after: MovementKey | None, number: int) -> Sequence[Movement]:
        return await figures.movements(
            context, principal, selection, after, number, lens=lens, instance_ids=instance_ids or []
        )

    return await _MOVEMENTS.answer(read, cursor, limit, form)


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


@router.get("/issues")
async def list_issues(
    context: ContextDependency,
    principal: CustomersReader,
    reasons: OfIssues = None,
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Issue]:
    """List the subscriptions that are not in every total, by reason. Explanations of figures count them."""
    after = key_of(cursor, _ISSUE_KEY)
    chosen = None if reasons is None else [reason.value for reason in reasons]
    rows = await figures.issues(context, principal, chosen, after, limit + 1, instance_ids=instance_ids or [])
    return page_of(rows, limit, lambda row: tuple(row.key))


@router.get("/gaps")
async def list_gaps(
    context: ContextDependency,
    principal: CustomersReader,
    on: OnDay = None,
    part: OfPart = None,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Gap]:
    """List the subscriptions whose MRR by `contract` is not what invoices paid on a day, the largest first. Parts sum to `mrr_gap`."""
    selection = GapSelection(on, part, limits)
    after = key_of(cursor, _GAP_KEY)
    rows = await figures.gaps(
        context, principal, selection, after, limit + 1, instance_ids=instance_ids or []
    )
    return page_of(rows, limit, lambda row: tuple(row.key))

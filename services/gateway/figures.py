"""Figures for pages and API: one transaction of one organization, and a thread for large answers.

One file because each function asks one question within the same scope, and knows no more than that.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.instances import InstanceState
from libs.common.contracts.lenses import Lens
from libs.common.database import raw, transaction
from libs.common.figures.answers import Figure, figures_of
from libs.common.figures.cohorts import (
    CohortCustomer,
    CohortCustomerKey,
    CohortSelection,
    Months,
    cohorts_of,
    read_cohort_customers,
    read_cohorts,
)
from libs.common.figures.coverage import Freshness, last_known_day
from libs.common.figures.customers import (
    CustomerId,
    CustomerSegment,
    Record,
    read_changes,
    read_records,
    read_segments,
)
from libs.common.figures.end_list import EndSelection, ExpectedEnd, ExpectedEndKey, read_expected_ends
from libs.common.figures.errors import QuestionError
from libs.common.figures.explain import Explanation, explain, read_explained, read_omissions, read_restated
from libs.common.figures.gap_list import Gap, GapKey, GapSelection, read_gaps
from libs.common.figures.groups import Group, Limits
from libs.common.figures.issue_list import Issue, IssueKey, read_issues
from libs.common.figures.lists import (
    ChangedCustomer,
    ChangedCustomerKey,
    Customer,
    CustomerKey,
    Period,
    Selection,
    Subscription,
    SubscriptionKey,
    read_changed_customers,
    read_customers,
    read_subscriptions,
)
from libs.common.figures.matrix import Matrix
from libs.common.figures.metric import Metric
from libs.common.figures.movement_list import Movement, MovementKey, MovementSelection, read_movements
from libs.common.figures.questions import Question, Scope, scope_of
from libs.common.figures.rate_reading import read_rates
from libs.common.figures.rates import NO_RATES, Rates, Target
from libs.common.figures.reading import read, read_coverage, read_paid
from libs.common.figures.restatement_list import (
    Restatement,
    RestatementKey,
    RestatementSelection,
    read_restatements,
)
from services.gateway import repository
from services.gateway.context import Context
from services.gateway.errors import Invalid, instance_not_found
from services.gateway.principals import Principal

# Computing so many values takes about 20 ms; a thread would cost more than it saves.
SMALL: Final = 2_000


class CustomerHistory(NamedTuple):
    """Segments of a customer, its changes of MRR in micros by currency and day, and the freshness of its instance."""

    segments: list[CustomerSegment]
    changes: dict[str, dict[date, int]]
    fresh: Freshness


async def figures(
    context: Context,
    principal: Principal,
    questions: Sequence[Question],
    *,
    lens: Lens,
    instance_ids: Sequence[UUID],
) -> list[Figure]:
    """Return the answers, in the order of the questions, from one transaction; no `instance_ids` means all of the organization.

    Raise NotFound for an unknown instance, Invalid for a range that is not allowed, an unknown limit or an answer that is too large.
    """
    is_converted = any(question.target is not None for question in questions)
    async with _scope(context, principal, lens, instance_ids, with_rates=is_converted) as (database, scope):
        reading = await read(database, questions, scope)
    is_small = reading.size <= SMALL
    return figures_of(reading) if is_small else await context.answer_workers.run(figures_of, reading)


async def explanation(
    context: Context,
    principal: Principal,
    metric: Metric,
    start: date | None,
    on: date | None,
    group_by: Sequence[Group],
    limits: Limits,
    *,
    lens: Lens,
    instance_ids: Sequence[UUID],
    target: Target | None = None,
) -> Explanation:
    """Return the explanation of a metric on a day, by default the newest known day, or for the period from `start` to that day.

    Raise NotFound for an unknown instance, Invalid for an answer that is too large or a `start` that does not fit.
    """
    has_rates = target is not None
    async with _scope(context, principal, lens, instance_ids, with_rates=has_rates) as (database, scope):
        day = on or last_known_day(scope.instances, context.clock())
        reading = await read_explained(database, metric, start, day, group_by, limits, scope, target)
        omitted = await read_omissions(database, scope, metric.lens or lens)
        restated = await read_restated(database, reading, day)
    is_small = reading.size <= SMALL
    return (
        explain(reading, day, omitted, restated)
        if is_small
        else await context.answer_workers.run(explain, reading, day, omitted, restated)
    )


async def cohorts(
    context: Context, principal: Principal, months: Months, *, lens: Lens, instance_ids: Sequence[UUID]
) -> Matrix:
    """Return the cohorts of these months. Raise NotFound for an unknown instance, Invalid for a limit that they do not have."""
    async with _scope(context, principal, lens, instance_ids) as (database, scope):
        reading = await read_cohorts(database, scope, months)
    is_small = len(reading.changes) <= SMALL
    return cohorts_of(reading) if is_small else await context.answer_workers.run(cohorts_of, reading)


async def cohort_customers(
    context: Context,
    principal: Principal,
    selection: CohortSelection,
    after: CohortCustomerKey | None,
    limit: int,
    *,
    lens: Lens,
    instance_ids: Sequence[UUID],
) -> list[CohortCustomer]:
    """Return at most `limit` customers of a cohort, those that follow `after`.

    Raise NotFound for an unknown instance, Invalid for a month that has not begun or a limit that cohorts do not have.
    """
    async with _scope(context, principal, lens, instance_ids) as (database, scope):
        return await read_cohort_customers(database, scope, selection, after, limit)


async def subscriptions(
    context: Context,
    principal: Principal,
    selection: Selection,
    after: SubscriptionKey | None,
    limit: int,
    *,
    lens: Lens,
    instance_ids: Sequence[UUID],
) -> list[Subscription]:
    """Return at most `limit` of the subscriptions behind a figure, those that follow `after`. Raise NotFound for an unknown instance."""
    has_rates = selection.target is not None
    async with _scope(context, principal, lens, instance_ids, with_rates=has_rates) as (database, scope):
        return await read_subscriptions(database, scope, selection, after, limit)


async def customers(
    context: Context,
    principal: Principal,
    selection: Selection,
    after: CustomerKey | None,
    limit: int,
    *,
    lens: Lens,
    instance_ids: Sequence[UUID],
) -> list[Customer]:
    """Return at most `limit` of the customers behind a figure, those that follow `after`. Raise NotFound for an unknown instance."""
    has_rates = selection.target is not None
    async with _scope(context, principal, lens, instance_ids, with_rates=has_rates) as (database, scope):
        return await read_customers(database, scope, selection, after, limit)


async def customer_records(
    context: Context, principal: Principal, customers: Sequence[CustomerId]
) -> dict[CustomerId, Record]:
    """Return what WHMCS says about customers of the organization; those that it no longer has are missing."""
    async with transaction(context.engine, principal.organization_id, is_snapshot=True) as connection:
        return await read_records(await raw(connection), customers)


async def customer_history(
    context: Context, principal: Principal, customer: CustomerId, limit: int, *, lens: Lens
) -> CustomerHistory:
    """Return how the MRR of a customer changed, and at most `limit` segments. Raise NotFound for an unknown instance."""
    async with _scope(context, principal, lens, [customer.instance_id]) as (database, scope):
        return CustomerHistory(
            await read_segments(database, customer, lens, limit),
            await read_changes(database, customer, lens),
            scope.instances[0],
        )


async def changed_customers(
    context: Context,
    principal: Principal,
    period: Period,
    after: ChangedCustomerKey | None,
    limit: int,
    *,
    lens: Lens,
    instance_ids: Sequence[UUID],
) -> list[ChangedCustomer]:
    """Return at most `limit` of the customers that changed in a period, those that follow `after`.

    Raise NotFound for an unknown instance, Invalid for a period that starts after its end.
    """
    has_rates = period.target is not None
    async with _scope(context, principal, lens, instance_ids, with_rates=has_rates) as (database, scope):
        return await read_changed_customers(database, scope, period, after, limit)


async def expected_ends(
    context: Context,
    principal: Principal,
    selection: EndSelection,
    after: ExpectedEndKey | None,
    limit: int,
    *,
    lens: Lens,
    instance_ids: Sequence[UUID],
) -> list[ExpectedEnd]:
    """Return at most `limit` subscriptions that may end soon, those that follow `after`. Raise NotFound for an unknown instance."""
    async with _scope(context, principal, lens, instance_ids) as (database, scope):
        return await read_expected_ends(database, scope, selection, after, limit)


async def movements(
    context: Context,
    principal: Principal,
    selection: MovementSelection,
    after: MovementKey | None,
    limit: int,
    *,
    lens: Lens,
    instance_ids: Sequence[UUID],
) -> list[Movement]:
    """Return at most `limit` movements, those that follow `after`.

    Raise NotFound for an unknown instance, Invalid for days that are not allowed or an unknown limit.
    """
    has_rates = selection.target is not None
    async with _scope(context, principal, lens, instance_ids, with_rates=has_rates) as (database, scope):
        return await read_movements(database, scope, selection, after, limit)


async def restatements(
    context: Context,
    principal: Principal,
    selection: RestatementSelection,
    after: RestatementKey | None,
    limit: int,
    *,
    lens: Lens,
    instance_ids: Sequence[UUID],
) -> list[Restatement]:
    """Return at most `limit` restatements, those that follow `after`.

    Raise NotFound for an unknown instance, Invalid for a range that starts after its end.
    """
    async with _scope(context, principal, lens, instance_ids) as (database, scope):
        return await read_restatements(database, scope, selection, after, limit)


async def issues(
    context: Context,
    principal: Principal,
    reasons: list[str] | None,
    after: IssueKey | None,
    limit: int,
    *,
    instance_ids: Sequence[UUID],
) -> list[Issue]:
    """Return at most `limit` issues, those that follow `after`. Raise NotFound for an unknown instance."""
    async with _scope(context, principal, Lens.CONTRACT, instance_ids) as (database, scope):
        return await read_issues(database, scope, reasons, after, limit)


async def gaps(
    context: Context,
    principal: Principal,
    selection: GapSelection,
    after: GapKey | None,
    limit: int,
    *,
    instance_ids: Sequence[UUID],
) -> list[Gap]:
    """Return at most `limit` gaps between MRR by contract and paid MRR, those that follow `after`.

    Raise NotFound for an unknown instance.
    """
    async with _scope(context, principal, Lens.PAID, instance_ids) as (database, scope):
        return await read_gaps(database, scope, selection, after, limit)


async def freshness(context: Context, principal: Principal, instance_ids: Sequence[UUID]) -> list[Freshness]:
    """Return the freshness of the chosen instances, or of all but drafts when none is chosen; raise NotFound for an unknown one."""
    async with _scope(context, principal, Lens.CONTRACT, instance_ids) as (_, scope):
        return list(scope.instances)


@asynccontextmanager
async def _scope(
    context: Context,
    principal: Principal,
    lens: Lens,
    instance_ids: Sequence[UUID],
    *,
    with_rates: bool = False,
) -> AsyncIterator[tuple[Any, Scope]]:
    """Open a transaction of the organization; yield its connection and the scope of the questions.

    All statements see one moment, because a run may be applied between two of them.
    """
    async with (
        context.figures_lane,
        transaction(context.engine, principal.organization_id, is_snapshot=True) as connection,
    ):
        instances = await _chosen(connection, instance_ids)
        try:
            rates = await rates_of_organization(connection, principal) if with_rates else NO_RATES
            yield await raw(connection), scope_of(instances, lens, context.clock(), rates)
        except QuestionError as error:
            raise Invalid(error.code, error.message, error.field) from error


async def rates_of_organization(connection: AsyncConnection, principal: Principal) -> Rates:
    """Return all rates of the organization. They are not limited to chosen instances, so that these do not change an amount."""
    instances = await repository.instances.with_figures(connection)
    zones = {instance.instance_id: instance.time_zone for instance in instances}
    chosen = await repository.organizations.reporting_currency(connection, principal.organization_id)
    return await read_rates(await raw(connection), zones, chosen)


async def _chosen(connection: AsyncConnection, instance_ids: Sequence[UUID]) -> list[Freshness]:
    """Return the chosen instances, or all but drafts when none is chosen. An instance that is being deleted has no figures."""
    chosen = set(instance_ids)
    instances = await repository.instances.with_figures(connection)
    if not {instance.instance_id for instance in instances} >= chosen:
        raise instance_not_found("filter[instance]")
    database = await raw(connection)
    kinds, paid = await read_coverage(database), await read_paid(database)
    return [
        Freshness(
            instance_id=instance.instance_id,
            name=instance.name,
            time_zone=instance.time_zone,
            as_of=instance.as_of,
            first_on=instance.first_on,
            last_on=instance.last_on,
            kinds=kinds.get(instance.instance_id, {}),
            same_as=instance.same_as,
            has_paid=instance.instance_id in paid,
            is_redefined=instance.is_redefined,
            domains_count=instance.domains_count,
        )
        for instance in instances
        if (instance.instance_id in chosen if chosen else instance.state is not InstanceState.DRAFT)
    ]

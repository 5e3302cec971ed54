"""The definitions of an organization: read them, and change them for all its instances."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.definitions import Definitions
from libs.common.contracts.money import format_micros
from libs.common.database import transaction
from services.gateway import audit, repository
from services.gateway.context import Context
from services.gateway.errors import instance_not_found
from services.gateway.instances import transitions
from services.gateway.overrides import Overrides
from services.gateway.principals import Principal
from services.gateway.repository.definitions import InstanceOverrides, MonthOfInstance, StoredPreview
from services.gateway.repository.instances import StoredInstance

_SUMMED: Final = (
    "mrr_before_micros",
    "mrr_after_micros",
    "customers_before",
    "customers_after",
    "churn_before_micros",
    "churn_after_micros",
)


@dataclass(frozen=True, slots=True)
class DefinitionsInForce:
    """The definitions of an organization, and what its connected instances have instead."""

    definitions: Definitions
    instances: list[InstanceOverrides]

    @property
    def computing(self) -> list[str]:
        """Return the names of the instances whose figures still follow former definitions."""
        return [instance.name for instance in self.instances if instance.is_redefined]


async def get_definitions(context: Context, principal: Principal) -> DefinitionsInForce:
    """Return the definitions of the organization and of its instances."""
    async with transaction(context.engine, principal.organization_id, is_snapshot=True) as connection:
        return DefinitionsInForce(
            await repository.definitions.read(connection, principal.organization_id),
            await repository.definitions.of_instances(connection),
        )


@dataclass(frozen=True, slots=True)
class PreviewMonth:
    """What other definitions change in the figures of a month-end, and in the churned MRR of its month, in a currency."""

    on: date
    currency: str
    mrr_before: str
    mrr_after: str
    mrr_change: str
    customers_before: int
    customers_after: int
    customers_change: int
    churned_mrr_before: str
    churned_mrr_after: str
    churned_mrr_change: str


@dataclass(frozen=True, slots=True)
class PreviewOfDefinitions:
    """The effect of other definitions on the last twelve month-ends. `waiting` are the instances of which it is not computed yet."""

    id: UUID
    definitions: Definitions
    overrides: dict[UUID, Overrides]
    waiting: list[str]
    months: list[PreviewMonth]


async def ask_preview(
    context: Context, principal: Principal, definitions: Definitions, overrides: Mapping[UUID, Overrides]
) -> None:
    """Have the effect of other definitions computed, in the place of an earlier preview. Raise NotFound for an unknown instance."""
    async with transaction(context.engine, principal.organization_id) as connection:
        await repository.definitions.lock(connection, principal.organization_id)
        instances = await repository.definitions.lock_instances(connection)
        if not overrides.keys() <= {instance.instance_id for instance in instances}:
            raise instance_not_found()
        preview = StoredPreview(id=uuid4(), definitions=definitions, overrides=overrides)
        await repository.definitions.store_preview(connection, principal.organization_id, preview)
        for instance in instances:
            await transitions.change(connection, context, instance)


async def discard_preview(context: Context, principal: Principal) -> None:
    """Forget the preview. A result that comes later is not shown."""
    async with transaction(context.engine, principal.organization_id) as connection:
        await repository.definitions.store_preview(connection, principal.organization_id, None)


async def get_preview(context: Context, principal: Principal) -> PreviewOfDefinitions | None:
    """Return the newest preview with its effect, added up over all instances once each is computed; None when nobody asked for one."""
    async with transaction(context.engine, principal.organization_id, is_snapshot=True) as connection:
        preview = await repository.definitions.read_preview(connection, principal.organization_id)
        if preview is None:
            return None
        rows = await repository.definitions.read_months(connection, preview.id)
        instances = await repository.definitions.of_instances(connection)
    computed = {row.instance_id for row in rows}
    waiting = [instance.name for instance in instances if instance.instance_id not in computed]
    months = [] if waiting else _added_up(rows)
    return PreviewOfDefinitions(preview.id, preview.definitions, dict(preview.overrides), waiting, months)


def _added_up(rows: Sequence[MonthOfInstance]) -> list[PreviewMonth]:
    """Return the months over all instances, in order."""
    sums: dict[tuple[date, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.on is not None and row.currency is not None:
            sums[row.on, row.currency].update({name: getattr(row, name) for name in _SUMMED})
    return [_month(on, currency, sums[on, currency]) for on, currency in sorted(sums)]


def _month(on: date, currency: str, sums: Mapping[str, int]) -> PreviewMonth:
    mrr, churn = sums["mrr_before_micros"], sums["churn_before_micros"]
    return PreviewMonth(
        on=on,
        currency=currency,
        mrr_before=format_micros(mrr),
        mrr_after=format_micros(sums["mrr_after_micros"]),
        mrr_change=format_micros(sums["mrr_after_micros"] - mrr),
        customers_before=sums["customers_before"],
        customers_after=sums["customers_after"],
        customers_change=sums["customers_after"] - sums["customers_before"],
        churned_mrr_before=format_micros(churn),
        churned_mrr_after=format_micros(sums["churn_after_micros"]),
        churned_mrr_change=format_micros(sums["churn_after_micros"] - churn),
    )


async def change_definitions(
    context: Context, principal: Principal, definitions: Definitions, overrides: Mapping[UUID, Overrides]
) -> None:
    """Store the definitions and publish them with each instance whose figures they change.

    An instance that `overrides` does not name keeps what it has. Each changed value is a line of the audit log. Raise NotFound for an
    unknown instance.
    """
    async with transaction(context.engine, principal.organization_id) as connection:
        before = await repository.definitions.lock(connection, principal.organization_id)
        instances = await repository.definitions.lock_instances(connection)
        if not overrides.keys() <= {instance.instance_id for instance in instances}:
            raise instance_not_found()
        await repository.definitions.store(connection, principal.organization_id, definitions)
        await repository.definitions.store_preview(connection, principal.organization_id, None)
        for change in _changes(before, definitions):
            await audit.record(connection, context, principal, "definitions.changed", change)
        for instance in instances:
            new = overrides.get(instance.instance_id, instance.overrides)
            for change in _changes(instance.overrides, new):
                target = f"{instance.instance_id} {change}"
                await audit.record(connection, context, principal, "definitions.changed", target)
            if new != instance.overrides or new.over(before) != new.over(definitions):
                await _redefine(connection, context, instance, new)


async def _redefine(
    connection: AsyncConnection, context: Context, instance: StoredInstance, overrides: Overrides
) -> None:
    values = overrides.model_dump(mode="json", exclude_none=True)
    await transitions.change(connection, context, instance, overrides=values)


def _changes(before: Definitions | Overrides, after: Definitions | Overrides) -> Iterator[str]:
    """Yield each value that differs, as the audit log shows it."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    for name in new:
        if old[name] != new[name]:
            yield f"{name}: {_shown(old[name])} -> {_shown(new[name])}"


def _shown(value: int | None) -> str:
    return "as the organization" if value is None else str(value).lower()

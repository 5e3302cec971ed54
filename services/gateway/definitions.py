"""The definitions of an organization: read them, and change them for all its instances."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.definitions import Definitions
from libs.common.database import transaction
from services.gateway import audit, repository
from services.gateway.context import Context
from services.gateway.errors import instance_not_found
from services.gateway.instances import transitions
from services.gateway.overrides import Overrides
from services.gateway.principals import Principal
from services.gateway.repository.definitions import InstanceOverrides
from services.gateway.repository.instances import StoredInstance


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

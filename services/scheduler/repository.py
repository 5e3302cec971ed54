"""The statements on the scheduler's tables; they take a connection and never commit."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.cadence import Schedule, Tick
from libs.common.contracts.instances import InstanceChanged, InstanceSettings
from services.scheduler.tables import instances, schedules

Now = Callable[[AsyncConnection], Awaitable[datetime]]


async def database_now(connection: AsyncConnection) -> datetime:
    """The start of the transaction by the database's clock: the same for replicas whose own clocks differ."""
    return (await connection.execute(select(func.now()))).scalar_one()


@dataclass(frozen=True, slots=True)
class Due:
    """A schedule that is due and locked by this transaction, with what its command needs."""

    organization_id: UUID
    instance_id: UUID
    kind: Schedule
    planned: Tick
    credential_id: UUID
    settings: InstanceSettings


@dataclass(frozen=True, slots=True)
class Planned:
    """What is stored of one schedule. `tick` is None while nothing is planned."""

    tick: Tick | None
    issued_at: datetime | None


async def claim_due(connection: AsyncConnection, now: datetime, limit: int) -> list[Due]:
    """Lock up to `limit` schedules that are due, the longest waiting first; those of other replicas are passed over."""
    statement = (
        select(schedules, instances.c.credential_id, instances.c.settings)
        .join(
            instances,
            (instances.c.organization_id == schedules.c.organization_id)
            & (instances.c.instance_id == schedules.c.instance_id),
        )
        .where(schedules.c.due_at <= now)
        .order_by(schedules.c.due_at)
        .limit(limit)
        .with_for_update(of=schedules, skip_locked=True)
    )
    return [
        Due(
            row.organization_id,
            row.instance_id,
            Schedule(row.kind),
            Tick(row.scheduled_for, row.due_at),
            row.credential_id,
            InstanceSettings.model_validate(row.settings),
        )
        for row in await connection.execute(statement)
    ]


async def plan(
    connection: AsyncConnection,
    plans: Sequence[tuple[UUID, UUID, Schedule, Tick, datetime | None]],
) -> None:
    """Plan the next tick of (organization, instance, kind); a moment at the end says when a command was issued."""
    if not plans:
        return
    new = insert(schedules)
    statement = new.on_conflict_do_update(
        index_elements=["organization_id", "instance_id", "kind"],
        set_={
            "scheduled_for": new.excluded.scheduled_for,
            "due_at": new.excluded.due_at,
            "issued_at": func.coalesce(new.excluded.issued_at, schedules.c.issued_at),
        },
    )
    await connection.execute(
        statement,
        [
            {
                "organization_id": organization_id,
                "instance_id": instance_id,
                "kind": kind,
                "scheduled_for": tick.scheduled_for,
                "due_at": tick.due_at,
                "issued_at": issued_at,
            }
            for organization_id, instance_id, kind, tick, issued_at in plans
        ],
    )


async def save_instance(connection: AsyncConnection, instance: InstanceChanged) -> tuple[bool, str | None]:
    """Keep the newest version; whether this one is new, and the state before it (None for an unknown instance)."""
    key = (instances.c.organization_id == instance.organization_id) & (instances.c.instance_id == instance.id)
    before = (await connection.execute(select(instances.c.state).where(key).with_for_update())).scalar()
    new = insert(instances).values(
        organization_id=instance.organization_id,
        instance_id=instance.id,
        credential_id=instance.credential_id,
        state=instance.state,
        settings=instance.settings.model_dump(mode="json"),
        version=instance.version,
    )
    statement = new.on_conflict_do_update(
        index_elements=["organization_id", "instance_id"],
        set_={name: new.excluded[name] for name in ("credential_id", "state", "settings", "version")},
        where=instances.c.version < new.excluded.version,
    ).returning(instances.c.version)
    return (await connection.execute(statement)).first() is not None, before


async def planned(
    connection: AsyncConnection, organization_id: UUID, instance_id: UUID
) -> dict[Schedule, Planned]:
    """All schedules of an instance, locked."""
    statement = select(schedules).where(_of(organization_id, instance_id)).with_for_update()
    return {
        Schedule(row.kind): Planned(
            None if row.due_at is None else Tick(row.scheduled_for, row.due_at), row.issued_at
        )
        for row in await connection.execute(statement)
    }


async def stop(
    connection: AsyncConnection, organization_id: UUID, instance_id: UUID, *, keep: Sequence[Schedule]
) -> None:
    """Plan nothing more for an instance but the kinds to keep."""
    await connection.execute(
        update(schedules)
        .where(_of(organization_id, instance_id), schedules.c.kind.not_in(keep))
        .values(due_at=None)
    )


async def drop(connection: AsyncConnection, organization_id: UUID, instance_id: UUID) -> None:
    """Forget the schedules of an instance that is deleted."""
    await connection.execute(schedules.delete().where(_of(organization_id, instance_id)))


def _of(organization_id: UUID, instance_id: UUID) -> ColumnElement[bool]:
    return (schedules.c.organization_id == organization_id) & (schedules.c.instance_id == instance_id)

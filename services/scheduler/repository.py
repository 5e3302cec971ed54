"""The statements on the scheduler's tables. They take a connection and never commit."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.cadence import Schedule, Tick
from libs.common.contracts.instances import InstanceChanged, InstanceKey, InstanceSettings
from services.scheduler.schedule import latest_due_at
from services.scheduler.tables import instances, schedules

Now = Callable[[AsyncConnection], Awaitable[datetime]]


async def database_now(connection: AsyncConnection) -> datetime:
    """Return when the transaction began by the database's clock, which is the same for all replicas."""
    return (await connection.execute(select(func.now()))).scalar_one()


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule whose tick is due or too far ahead, with what its command needs. The transaction holds a lock on its row."""

    instance: InstanceKey
    schedule: Schedule
    tick: Tick
    credential_id: UUID
    settings: InstanceSettings


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """One schedule as stored. `tick` is None while nothing is planned."""

    tick: Tick | None
    issued_at: datetime | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The next tick of one schedule. `issued_at` is set when a command was issued just now."""

    instance: InstanceKey
    schedule: Schedule
    tick: Tick
    issued_at: datetime | None = None


class StoredInstance(NamedTuple):
    """The result of storing an instance. `previous_state` is None for a new instance."""

    is_newer: bool
    previous_state: str | None


async def claim_due(connection: AsyncConnection, now: datetime, limit: int) -> list[DueSchedule]:
    """Lock and return up to `limit` schedules that are due, the longest due first, or that are planned too far ahead.

    The latter were planned while the clock was ahead by more than a day.

    Schedules that another replica has locked are skipped, so replicas share the work and never wait for each other.
    """
    moment = schedules.c.due_at.type
    ends = {kind.value: literal(latest_due_at(kind, now), moment) for kind in Schedule}
    latest = case(ends, value=schedules.c.kind)
    statement = (
        select(schedules, instances.c.credential_id, instances.c.settings)
        .join(
            instances,
            (instances.c.organization_id == schedules.c.organization_id)
            & (instances.c.instance_id == schedules.c.instance_id),
        )
        .where((schedules.c.due_at <= now) | (schedules.c.due_at > latest))
        .order_by(schedules.c.due_at)
        .limit(limit)
        .with_for_update(of=schedules, skip_locked=True)
    )
    return [
        DueSchedule(
            InstanceKey(row.organization_id, row.instance_id),
            Schedule(row.kind),
            Tick(row.scheduled_for, row.due_at),
            row.credential_id,
            InstanceSettings.model_validate(row.settings),
        )
        for row in await connection.execute(statement)
    ]


async def store_plans(connection: AsyncConnection, plans: Sequence[Plan]) -> None:
    """Store the next tick of each schedule. The stored `issued_at` stays when a plan has none."""
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
    rows = [
        {
            **plan.instance._asdict(),
            "kind": plan.schedule,
            "scheduled_for": plan.tick.scheduled_for,
            "due_at": plan.tick.due_at,
            "issued_at": plan.issued_at,
        }
        for plan in plans
    ]
    await connection.execute(statement, rows)


async def store_instance(connection: AsyncConnection, instance: InstanceChanged) -> StoredInstance:
    """Store an instance unless the same or a newer version is stored."""
    row = (instances.c.organization_id == instance.organization_id) & (instances.c.instance_id == instance.id)
    previous = await connection.execute(select(instances.c.state).where(row).with_for_update())
    previous_state = previous.scalar()
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
    is_newer = (await connection.execute(statement)).first() is not None
    return StoredInstance(is_newer, previous_state)


async def load_schedules(
    connection: AsyncConnection, instance: InstanceKey
) -> dict[Schedule, StoredSchedule]:
    """Lock and return all schedules of an instance."""
    statement = select(schedules).where(_of(instance)).with_for_update()
    return {
        Schedule(row.kind): StoredSchedule(
            None if row.due_at is None else Tick(row.scheduled_for, row.due_at), row.issued_at
        )
        for row in await connection.execute(statement)
    }


async def suspend_schedules(
    connection: AsyncConnection, instance: InstanceKey, *, keep: Sequence[Schedule]
) -> None:
    """Plan nothing more for an instance, except for the schedules to keep. `issued_at` stays for a later resume."""
    await connection.execute(
        update(schedules).where(_of(instance), schedules.c.kind.not_in(keep)).values(due_at=None)
    )


async def delete_schedules(connection: AsyncConnection, instance: InstanceKey) -> None:
    """Delete all schedules of an instance."""
    await connection.execute(schedules.delete().where(_of(instance)))


def _of(instance: InstanceKey) -> ColumnElement[bool]:
    return (schedules.c.organization_id == instance.organization_id) & (
        schedules.c.instance_id == instance.instance_id
    )

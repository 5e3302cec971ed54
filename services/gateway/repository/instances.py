"""Instances as they are stored, and with their newest check, runs and figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.instances import InstanceKey, InstanceSettings, InstanceState
from libs.common.contracts.sync import DetailsProgressed, RunState
from services.gateway.overrides import Overrides
from services.gateway.repository.checks import StoredCheck
from services.gateway.repository.rows import first_of, rows_of
from services.gateway.repository.syncs import UNDER_WAY, around
from services.gateway.standing import Standing
from services.gateway.tables import checks, instances, organizations, runs


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """An instance; `version` grows with each change. A draft has no credential in use."""

    organization_id: UUID
    instance_id: UUID
    name: str
    address: str
    state: InstanceState
    credential_id: UUID | None
    identifier_hint: str | None
    credentials_updated_at: datetime | None
    settings: InstanceSettings
    version: int
    attention_code: str | None
    attention_message: str | None
    whmcs_version: str | None
    created_at: datetime
    standing: Standing
    overrides: Overrides

    @property
    def key(self) -> InstanceKey:
        """Return the key by which every service knows the instance."""
        return InstanceKey(self.organization_id, self.instance_id)


@dataclass(frozen=True, slots=True)
class EndedRun:
    """How a run ended."""

    run_id: UUID
    state: RunState
    ended_at: datetime
    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class InstanceReport(StoredInstance):
    """An instance with its newest check, its runs and the age of its figures.

    `last_good_run` and `last_run` are the newest ended ones that were not limited to some kinds, `last_sync_id` is the sync that
    asked for the latter.
    """

    as_of: datetime | None
    newest_check: StoredCheck | None
    last_good_run: EndedRun | None
    last_run: EndedRun | None
    last_sync_id: UUID | None
    sync_under_way: UUID | None
    has_credentials: bool
    details: DetailsProgressed | None
    details_at: datetime | None


@dataclass(frozen=True, slots=True)
class InstanceFigures:
    """The known days [first_on, last_on] of an instance, and the start `as_of` of its applied sync; all None before its first sync.

    `same_as` are the instances of which its syncs found that they read the same WHMCS. `is_redefined`: its figures still follow former
    definitions. Without `domains_count`, domains are in no figure.
    """

    instance_id: UUID
    name: str
    state: InstanceState
    time_zone: str
    as_of: datetime | None
    first_on: date | None
    last_on: date | None
    same_as: tuple[UUID, ...]
    is_redefined: bool
    domains_count: bool


@dataclass(frozen=True, slots=True)
class OperatorInstance:
    """An instance of any organization, and when its newest good run ended."""

    organization: str
    instance_id: UUID
    name: str
    state: InstanceState
    attention_code: str | None
    synced_at: datetime | None


class NewDraft(TypedDict):
    """The columns of a draft."""

    organization_id: UUID
    instance_id: UUID
    name: str
    address: str
    settings: Mapping[str, Any]
    created_at: datetime


class Remarks(TypedDict, total=False):
    """The columns that consumers do not see."""

    standing: Mapping[str, Any]
    details: Mapping[str, Any]
    details_at: datetime


class InstanceValues(TypedDict, total=False):
    """The columns that change."""

    name: str
    address: str
    state: InstanceState
    credential_id: UUID
    identifier_hint: str
    credentials_updated_at: datetime
    settings: Mapping[str, Any]
    attention_code: str | None
    attention_message: str | None
    whmcs_version: str | None
    overrides: Mapping[str, Any]


_REPORTS: Final = f"""{UNDER_WAY}
SELECT n.*, f.as_of, to_jsonb(c) AS newest_check, to_jsonb(good) AS last_good_run, to_jsonb(last) AS last_run,
    (SELECT s.command_id FROM gateway.syncs s
        WHERE (s.organization_id, s.instance_id, s.run_id) = (n.organization_id, n.instance_id, last.run_id)
        ORDER BY s.requested_at LIMIT 1) AS last_sync_id,
    (SELECT w.command_id FROM under_way w WHERE w.instance_id = n.instance_id
        ORDER BY w.requested_at DESC LIMIT 1) AS sync_under_way,
    EXISTS (
        SELECT FROM connector.credentials k WHERE k.organization_id = n.organization_id AND k.instance_id = n.instance_id
    ) AS has_credentials
FROM gateway.instances n
LEFT JOIN metrics_read.freshness f USING (organization_id, instance_id)
LEFT JOIN LATERAL (
    SELECT r.run_id, r.state, r.ended_at, r.code, r.message FROM gateway.runs r
    WHERE r.organization_id = n.organization_id AND r.instance_id = n.instance_id AND r.state IN ('succeeded', 'partial')
        AND r.kinds = '{{}}'
    ORDER BY r.ended_at DESC LIMIT 1) good ON true
LEFT JOIN LATERAL (
    SELECT r.run_id, r.state, r.ended_at, r.code, r.message FROM gateway.runs r
    WHERE r.organization_id = n.organization_id AND r.instance_id = n.instance_id AND r.ended_at IS NOT NULL
        AND r.kinds = '{{}}'
    ORDER BY r.ended_at DESC LIMIT 1) last ON true
LEFT JOIN LATERAL (
    SELECT c.* FROM gateway.checks c
    WHERE c.organization_id = n.organization_id AND c.instance_id = n.instance_id
    ORDER BY c.started_at DESC LIMIT 1) c ON true
WHERE n.state <> 'deleted' AND (CAST(:instance_id AS uuid) IS NULL OR n.instance_id = :instance_id)
    AND (CAST(:after_at AS timestamptz) IS NULL OR (n.created_at, n.instance_id) > (:after_at, CAST(:after_id AS uuid)))
ORDER BY n.created_at, n.instance_id LIMIT :limit"""  # noqa: S608  fixed text


_WITH_FIGURES: Final = """
SELECT n.instance_id, n.name, n.state, coalesce(f.time_zone, n.settings ->> 'time_zone') AS time_zone,
    f.as_of, f.first_on, f.last_on, coalesce(n.standing -> 'same_as', '[]') AS same_as, coalesce(f.is_redefined, false) AS is_redefined,
    coalesce((f.definitions ->> 'domains_count')::boolean, true) AS domains_count
FROM gateway.instances n LEFT JOIN metrics_read.freshness f USING (organization_id, instance_id)
WHERE n.state NOT IN ('deleting', 'deleted')
ORDER BY n.created_at, n.instance_id"""


async def reports(
    connection: AsyncConnection,
    now: datetime,
    instance_id: UUID | None = None,
    *,
    after: tuple[datetime, UUID] | None = None,
    limit: int | None = None,
) -> list[InstanceReport]:
    """Return the instances that are not deleted, drafts too, in the order in which they were added; only those after (created_at, id)."""
    after_at, after_id = after or (None, None)
    values = {"instance_id": instance_id, "after_at": after_at, "after_id": after_id, "limit": limit}
    return rows_of(InstanceReport, await connection.execute(text(_REPORTS), values | around(now)))


async def with_figures(connection: AsyncConnection) -> list[InstanceFigures]:
    """Return the instances that are not being deleted, drafts too, in the order in which they were added."""
    return rows_of(InstanceFigures, await connection.execute(text(_WITH_FIGURES)))


async def read(connection: AsyncConnection, instance_id: UUID) -> StoredInstance | None:
    """Return the instance, deleted or not; None when the organization never had it."""
    of_id = select(instances).where(instances.c.instance_id == instance_id)
    return first_of(StoredInstance, await connection.execute(of_id))


async def lock(connection: AsyncConnection, instance_id: UUID) -> StoredInstance | None:
    """Return the instance, locked until the transaction ends; None when it is deleted or the organization never had it."""
    live = select(instances).where(instances.c.instance_id == instance_id, instances.c.state != "deleted")
    return first_of(StoredInstance, await connection.execute(live.with_for_update()))


async def lock_at(connection: AsyncConnection, address: str) -> StoredInstance | None:
    """Return the instance with this address, locked until the transaction ends; None when there is none."""
    live = select(instances).where(instances.c.address == address, instances.c.state != "deleted")
    return first_of(StoredInstance, await connection.execute(live.with_for_update()))


async def exists(connection: AsyncConnection, instance_id: UUID) -> bool:
    """Return whether the organization has, or had, this instance."""
    same = select(instances.c.instance_id).where(instances.c.instance_id == instance_id)
    return (await connection.execute(same)).first() is not None


async def add_draft(connection: AsyncConnection, **draft: Unpack[NewDraft]) -> None:
    """Store a draft; it replaces the draft with the same id."""
    statement = insert(instances).values(state=InstanceState.DRAFT, version=0, **draft)
    changes = {name: statement.excluded[name] for name in ("name", "address", "settings")}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["organization_id", "instance_id"], set_=changes)
    )


async def change(
    connection: AsyncConnection, instance_id: UUID, **values: Unpack[InstanceValues]
) -> StoredInstance:
    """Store changed values as a new version of an instance, and return that."""
    changed = update(instances).where(instances.c.instance_id == instance_id)
    changed = changed.values(version=instances.c.version + 1, **values)
    [instance] = rows_of(StoredInstance, await connection.execute(changed.returning(instances)))
    return instance


async def note(connection: AsyncConnection, instance_id: UUID, **remarks: Unpack[Remarks]) -> None:
    """Store remarks about an instance. They are no new version of it."""
    await connection.execute(
        update(instances).where(instances.c.instance_id == instance_id).values(**remarks)
    )


async def delete_row(connection: AsyncConnection, instance_id: UUID) -> None:
    """Delete the row of a draft."""
    await connection.execute(delete(instances).where(instances.c.instance_id == instance_id))


async def all_keys(connection: AsyncConnection) -> list[InstanceKey]:
    """Return the instances of all organizations."""
    keys = select(instances.c.organization_id, instances.c.instance_id)
    return rows_of(InstanceKey, await connection.execute(keys))


async def stale_drafts(connection: AsyncConnection, before: datetime) -> list[InstanceKey]:
    """Return the drafts, of all organizations, whose newest check was started before that moment."""
    newest = select(func.max(checks.c.started_at)).where(
        checks.c.organization_id == instances.c.organization_id,
        checks.c.instance_id == instances.c.instance_id,
    )
    stale = select(instances.c.organization_id, instances.c.instance_id).where(
        instances.c.state == "draft",
        func.coalesce(newest.scalar_subquery(), instances.c.created_at) < before,
    )
    return rows_of(InstanceKey, await connection.execute(stale))


async def for_operators(connection: AsyncConnection) -> list[OperatorInstance]:
    """Return the instances of all organizations that are no drafts and not deleted, by organization and name."""
    good = (RunState.SUCCEEDED, RunState.PARTIAL)
    ended = select(func.max(runs.c.ended_at)).where(
        runs.c.organization_id == instances.c.organization_id,
        runs.c.instance_id == instances.c.instance_id,
        runs.c.state.in_(good),
    )
    columns = (
        organizations.c.name.label("organization"),
        instances.c.instance_id,
        instances.c.name,
        instances.c.state,
        instances.c.attention_code,
        ended.scalar_subquery().label("synced_at"),
    )
    statement = select(*columns).join(
        organizations, organizations.c.organization_id == instances.c.organization_id
    )
    statement = statement.where(instances.c.state.not_in(("draft", "deleted")))
    rows = await connection.execute(statement.order_by(organizations.c.name, instances.c.name))
    return rows_of(OperatorInstance, rows)

"""A WHMCS without a network, and the topics and tables of a connector that reads it, for tests that kill the worker."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import utc_now
from libs.common.contracts.billing import Kind, parse_fact_key
from libs.common.contracts.commands import SyncMode
from libs.common.contracts.envelope import Record
from libs.common.contracts.instances import InstanceKey, InstanceSettings
from libs.common.contracts.sync import HeldDeletions
from libs.common.database import raw, transaction
from services.connector.caller import Answer
from services.connector.changes import DETAILS, Fact
from services.connector.deletion import LOOK_UPS
from services.connector.plan import Checkpoint
from services.connector.publishing import FactPublisher
from services.connector.removing import Removal
from services.connector.repository import fingerprints, held, seen
from services.connector.repository.leases import Lease
from services.connector.repository.runs import Run
from services.connector.whmcs.answers import WhmcsError

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
KINDS = (Kind.CUSTOMER, Kind.SERVICE, Kind.INVOICE, Kind.ADDON, Kind.CURRENCY)


class Killed(Exception):
    """The worker was killed."""


@dataclass
class Site:
    """A WHMCS, the topics, and what the connector has stored about them. `lives` counts down to the death of the worker."""

    engine: AsyncEngine
    instance: InstanceKey = field(default_factory=lambda: InstanceKey(uuid4(), uuid4()))
    rows: dict[Kind, set[int]] = field(default_factory=dict)
    hidden: dict[Kind, set[int]] = field(default_factory=dict)
    topics: dict[tuple[Kind, int], bool] = field(default_factory=dict)
    tombstones: int = 0
    epoch: int = 0
    numbers: int = 0
    lives: int = -1
    broken: str = ""
    mark: bytes = b"x"

    def step(self) -> None:
        self.lives -= 1
        if self.lives == 0:
            raise Killed

    def next_seq(self) -> int:
        self.numbers += 1
        return self.numbers

    async def ask(self, action: str, parameters: dict[str, int]) -> Answer:
        """Answer a look-up, as the caller does."""
        self.step()
        [(kind, look_up)] = [item for item in LOOK_UPS.items() if item[1].action == action]
        if self.broken == "error":
            raise WhmcsError("server_error", action)
        exists = parameters[look_up.id_parameter] in self.rows[kind]
        if look_up.rows is None:
            if not exists:
                raise WhmcsError("not_found", action)
            return self._answer({})
        chosen = [parameters[look_up.id_parameter]] if exists else []
        if self.broken == "filter":
            chosen = sorted(self.rows[kind])[:25]
        rows = [{"id": str(id)} for id in chosen]
        return self._answer({"totalresults": len(rows), look_up.rows.plural: {look_up.rows.singular: rows}})

    def _answer(self, body: dict[str, Any]) -> Answer:
        return Answer(body, self.next_seq(), AT)

    async def publish(self, records: Sequence[Record]) -> None:
        """Take records as Kafka does."""
        self.step()
        for record in records:
            _, kind, id = parse_fact_key(record.key.decode())
            self.topics[kind, id] = record.value is not None
            self.tombstones += record.value is None
        self.step()

    async def store(self) -> None:
        """Store the instance, and that all its rows were published."""
        async with transaction(self.engine) as connection:
            database = await raw(connection)
            await database.execute(
                """INSERT INTO connector.instances
                       (organization_id, instance_id, credential_id, state, settings, version, epoch)
                   VALUES ($1, $2, $3, 'active', '{}', 1, 0)""",
                *self.instance,
                uuid4(),
            )
            for kind, ids in self.rows.items():
                await self._store_facts(database, kind, ids)
                if kind in DETAILS:
                    await self._store_facts(database, DETAILS[kind], ids)

    async def _store_facts(self, database: Any, kind: Kind, ids: set[int]) -> None:
        self.topics |= {(kind, id): True for id in ids}
        await database.execute(
            """INSERT INTO connector.fingerprints (organization_id, instance_id, kind, id, fingerprint)
               SELECT $1, $2, $3, unnest($4::bigint[]), $5""",
            *self.instance,
            kind,
            sorted(ids),
            self.mark,
        )

    async def run(self, whole: Sequence[Kind] = KINDS, **accepted: int) -> dict[str, HeldDeletions]:
        """Do the last step of a run that has read these kinds whole, and return what is held."""
        self.epoch += 1
        lease = Lease(self.instance, self.epoch)
        run = Run(
            lease,
            uuid4(),
            SyncMode.FULL,
            1,
            AT,
            uuid4(),
            InstanceSettings(),
            accept_deletions=accepted,
        )
        async with transaction(self.engine) as connection:
            database = await raw(connection)
            await database.execute(
                "UPDATE connector.instances SET epoch = $3 WHERE organization_id = $1 AND instance_id = $2",
                *self.instance,
                self.epoch,
            )
            for kind in whole:
                await seen.add(database, run, kind, self.rows[kind] - self.hidden.get(kind, set()))
        publisher = FactPublisher(self.engine, self, utc_now)  # type: ignore[arg-type]

        async def save(*_: Any) -> None:
            self.step()

        async def remove(kind: Kind, tombstones: Iterable[Fact]) -> None:
            await publisher.remove(lease, tombstones, save)

        points = {kind: Checkpoint(kind, done=True, is_whole=True) for kind in whole}
        await Removal(self.engine, self, utc_now, run, remove).remove_missing(points)  # type: ignore[arg-type]
        async with transaction(self.engine) as connection:
            return await held.load(await raw(connection), self.instance)

    async def published(self) -> set[tuple[Kind, int]]:
        """Return the rows whose facts are stored as published."""
        async with transaction(self.engine) as connection:
            keys = await fingerprints.load_keys(await raw(connection), self.instance, 100_000)
        return {(key.kind, key.id) for key in keys}

    def present(self) -> set[tuple[Kind, int]]:
        """Return the rows of which the topics have a state."""
        return {key for key, is_present in self.topics.items() if is_present}

    def true_rows(self) -> set[tuple[Kind, int]]:
        """Return the rows that WHMCS has, and their details."""
        rows = {(kind, id) for kind, ids in self.rows.items() for id in ids}
        return rows | {(DETAILS[kind], id) for kind, id in rows if kind in DETAILS}

"""A connector that is killed before any of its side effects, each in turn, loses nothing and reports the end of its run once."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from aiokafka import ConsumerRecord
from sqlalchemy import Connection, event

from libs.common.clock import utc_now
from libs.common.contracts.envelope import Record, read_headers
from libs.common.database import raw, transaction
from libs.common.kafka.publisher import Publisher
from services.connector import sync
from services.connector.jobs import Jobs
from services.connector.repository import runs
from tests.integration.connector.conftest import TODAY, World, facts, run_command
from tests.simulator import simulate


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Simulate a company of a few customers, so that a run has few side effects."""
    state = tmp_path_factory.mktemp("simulator")
    with simulate(state, customers=10, years=1, options=["--today", TODAY]) as whmcs:
        yield whmcs.info


_NEVER = 10**9


class Killed(BaseException):
    """Ends a process: no `except Exception` of the code catches it."""


@dataclass
class Killer:
    """Kills before the side effect number `at`, counted from 1: a commit of writes, or half of a batch on its way to Kafka.

    A dead process has no effects, so all later side effects fail as well.
    """

    at: int
    count: int = 0

    def strike(self) -> None:
        self.count += 1
        if self.count >= self.at:
            raise Killed

    def before_commit(self, connection: Connection) -> None:
        # Only a transaction that has written has an id.
        if connection.exec_driver_sql("SELECT pg_current_xact_id_if_assigned()::text").scalar() is not None:
            self.strike()


class HalvingPublisher(Publisher):
    """Publishes each batch in two halves, and may be killed before each of them."""

    killer: Killer

    async def publish(self, records: Sequence[Record]) -> None:
        half = (len(records) + 1) // 2
        for part in filter(None, (records[:half], records[half:])):
            self.killer.strike()
            await super().publish(part)


async def _work(world: World, publisher: HalvingPublisher, at: int) -> int:
    """Claim the run and work on it until the side effect `at`; return how many side effects it had."""
    killer = publisher.killer = Killer(at)
    async with transaction(world.engine) as connection:
        run = await runs.claim(await raw(connection), "worker", 60, utc_now())
    assert run is not None
    event.listen(world.engine.sync_engine, "commit", killer.before_commit)
    try:
        await Jobs(world.settings, world.engine, publisher, world.keyring, utc_now).run(run)
    except BaseException as error:
        if not _is_kill(error):
            raise
    finally:
        event.remove(world.engine.sync_engine, "commit", killer.before_commit)
        # The lease of a dead worker runs out.
        await world.execute("UPDATE connector.instances SET lease_until = NULL")
    return killer.count


def _is_kill(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_kill(inner) for inner in error.exceptions)
    return isinstance(error, (Killed, asyncio.CancelledError))


def _order(record: ConsumerRecord) -> tuple[int, int]:
    headers = read_headers(record.headers)
    return int(headers["ce_epoch"]), int(headers["ce_seq"])


async def test_run_killed_before_any_side_effect_loses_nothing(
    world: World, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One list after the other, so that the side effects have the same order in each round.
    monkeypatch.setattr(sync, "_LISTS_AT_ONCE", 1)
    await world.add_instance()
    publisher = HalvingPublisher(world.settings)
    await world.command(run_command())
    await _work(world, publisher, _NEVER)
    epochs, is_killed = [await _epoch(world)], True

    while is_killed:
        # Everything must be published again, so that nothing of an earlier round hides a loss.
        await world.execute("UPDATE connector.fingerprints SET fingerprint = NULL")
        await world.command(run_command())
        at = len(epochs)
        is_killed = await _work(world, publisher, at) >= at
        if is_killed:
            await _work(world, publisher, _NEVER)
        epochs.append(await _epoch(world))
    await publisher.close()

    rounds: list[dict[bytes, bytes | None]] = [{} for _ in epochs]
    for record in sorted(await facts(kafka), key=_order):
        rounds[bisect_left(epochs, _order(record)[0])][record.key] = record.value
    assert all(published == rounds[0] for published in rounds)
    ends = await world.events("SyncSucceeded", "SyncFailed")
    assert [end["type"] for end in ends] == ["SyncSucceeded"] * len(epochs)
    assert len({end["run_id"] for end in ends}) == len(epochs) > 40


async def _epoch(world: World) -> int:
    """Return the epoch of the newest lease on the instance."""
    async with transaction(world.engine) as connection:
        epoch: int = await (await raw(connection)).fetchval("SELECT epoch FROM connector.instances")
    return epoch

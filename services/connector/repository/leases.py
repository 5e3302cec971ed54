"""The lease on an instance: taken with a new epoch, renewed while a worker works, checked by every write."""

from dataclasses import dataclass
from typing import Any, Final

from libs.common.contracts.instances import InstanceKey

# At least the seconds since 1970: a database that was restored from a backup issues no epoch a second time.
_NEXT_EPOCH: Final = "greatest(epoch + 1, extract(epoch FROM now())::bigint)"


class FencedError(Exception):
    """The worker no longer holds the lease, so it must not write."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The exclusive right to work on an instance. Every write of its holder compares `epoch` with the database."""

    instance: InstanceKey
    epoch: int


def is_free(lease_until: str, seconds: str) -> str:
    """Return the SQL condition that no worker holds a lease which was taken for so many seconds.

    Only the database's clock counts. A lease with more than `seconds` left was taken before that clock stepped back. It counts as free,
    because it would last longer by that step.
    """
    return (
        f"({lease_until} IS NULL OR {lease_until} < clock_timestamp() "
        f"OR {lease_until} > clock_timestamp() + make_interval(secs => {seconds}))"
    )


async def take(connection: Any, instance: InstanceKey, worker: str, seconds: float) -> Lease:
    """Give the lease to a worker; the caller has locked the row and seen that the lease is free."""
    epoch = await connection.fetchval(
        f"""UPDATE connector.instances SET worker = $3, epoch = {_NEXT_EPOCH},
                lease_until = clock_timestamp() + make_interval(secs => $4), lease_seconds = $4
            WHERE organization_id = $1 AND instance_id = $2 RETURNING epoch""",  # noqa: S608  fixed names
        *instance,
        worker,
        seconds,
    )
    return Lease(instance, epoch)


async def take_for_purge(connection: Any, worker: str, seconds: float) -> Lease | None:
    """Take the lease on an instance that is to be purged; None when there is none with a free lease."""
    row = await connection.fetchrow(
        f"""SELECT organization_id, instance_id FROM connector.instances
            WHERE state = 'deleting' AND {is_free("lease_until", "lease_seconds")}
            LIMIT 1 FOR UPDATE SKIP LOCKED"""  # noqa: S608  fixed names
    )
    return None if row is None else await take(connection, InstanceKey(*row), worker, seconds)


async def revoke(connection: Any, instance: InstanceKey) -> None:
    """Take the lease from whichever worker holds it: its next write raises FencedError."""
    await connection.execute(
        f"""UPDATE connector.instances SET lease_until = NULL, worker = NULL, epoch = {_NEXT_EPOCH}
            WHERE organization_id = $1 AND instance_id = $2""",  # noqa: S608  fixed names
        *instance,
    )


async def revoke_earlier(connection: Any, replica: str, worker: str) -> None:
    """Take the leases from the workers of a replica before its restart, because they no longer run: all but those of `worker`."""
    await connection.execute(
        f"""UPDATE connector.instances SET lease_until = NULL, worker = NULL, epoch = {_NEXT_EPOCH}
            WHERE starts_with(worker, $1) AND NOT starts_with(worker, $2)""",  # noqa: S608  fixed names
        f"{replica}.",
        worker,
    )
    await connection.execute(
        """UPDATE connector.checks SET lease_until = NULL
           WHERE starts_with(worker, $1) AND NOT starts_with(worker, $2) AND ended_at IS NULL""",
        f"{replica}.",
        worker,
    )


async def fence(connection: Any, lease: Lease) -> None:
    """Raise FencedError unless the lease is still valid. No worker can take it until the transaction ends."""
    is_valid = await connection.fetchval(
        """SELECT true FROM connector.instances
           WHERE organization_id = $1 AND instance_id = $2 AND epoch = $3 FOR SHARE""",
        *lease.instance,
        lease.epoch,
    )
    if not is_valid:
        raise FencedError


async def renew(connection: Any, lease: Lease, seconds: float) -> None:
    """Extend the lease to `seconds` from now; raise FencedError when another worker has it."""
    is_valid = await connection.fetchval(
        """UPDATE connector.instances SET lease_until = clock_timestamp() + make_interval(secs => $4),
               lease_seconds = $4
           WHERE organization_id = $1 AND instance_id = $2 AND epoch = $3 RETURNING true""",
        *lease.instance,
        lease.epoch,
        seconds,
    )
    if not is_valid:
        raise FencedError


async def release(connection: Any, lease: Lease) -> None:
    """End the lease now, so that another worker need not wait; raise FencedError when another worker has it.

    A free lease has no time: a time would lie in the future for everybody once the clock steps back.
    """
    is_valid = await connection.fetchval(
        """UPDATE connector.instances SET lease_until = NULL, worker = NULL
           WHERE organization_id = $1 AND instance_id = $2 AND epoch = $3 RETURNING true""",
        *lease.instance,
        lease.epoch,
    )
    if not is_valid:
        raise FencedError

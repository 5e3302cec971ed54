"""Decides in SQL who may take a slot of a worker, so that neither an organization nor a WHMCS address takes all of them.

Every statement that claims work names the slots in use `busy`, with the columns `organization_id`, `origin` and `is_mine`.
"""

from typing import Any, Final

_RUNS_PER_ORIGIN: Final = 2


def origin(address: str) -> str:
    """Return the SQL expression for scheme, host and port of a stored address. Stored addresses are normalised."""
    return f"substring({address} from '^https://[^/]+')"


def has_share(slots: int, organization: str, condition: str = "true") -> str:
    """Return the SQL condition that an organization may take one more of the slots of this worker that fulfil the condition.

    An organization gets a quarter of the slots. It may take more while more than half are free. So another organization always finds free
    slots, even if the work of the first one hangs.
    """
    mine = f"SELECT count(*) FROM busy WHERE is_mine AND {condition}"  # noqa: S608  fixed names
    return (
        f"(({mine}) < {slots // 2} OR (({mine}) < {slots} "
        f"AND ({mine} AND busy.organization_id = {organization}) < {max(1, slots // 4)}))"
    )


def has_calm_origin(address: str) -> str:
    """Return the SQL condition that the WHMCS at this address is worked on by fewer than two workers, of any process."""
    return f"(SELECT count(*) FROM busy WHERE busy.origin = {origin(address)}) < {_RUNS_PER_ORIGIN}"  # noqa: S608  fixed names


async def lock(connection: Any, pool: str) -> None:
    """Let no other process claim work of this pool until the transaction ends. Otherwise two could take the last share at once."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"connector.{pool}")

"""The ids that a run has read of each kind, as one bit per id in blocks of 10,000 ids."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from asyncpg import BitString

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import IDS_PER_BLOCK
from services.connector.repository.runs import Run


async def add(connection: Any, run: Run, kind: Kind, ids: Iterable[int]) -> None:
    """Remember that a run has read these rows."""
    blocks: dict[int, bytearray] = {}
    for row_id in ids:
        block, number = divmod(row_id, IDS_PER_BLOCK)
        bits = blocks.get(block)
        if bits is None:
            bits = blocks[block] = bytearray(IDS_PER_BLOCK // 8)
        bits[number >> 3] |= 0x80 >> (
            number & 7
        )  # the first bit of a bit string is the highest of its first byte
    if blocks:
        await connection.execute(
            f"""INSERT INTO connector.seen_blocks (organization_id, instance_id, run_id, kind, block, ids)
               SELECT $1, $2, $3, $4, block, ids::bit({IDS_PER_BLOCK})
               FROM unnest($5::bigint[], $6::varbit[]) AS seen (block, ids)
               ON CONFLICT (organization_id, instance_id, run_id, kind, block)
               DO UPDATE SET ids = seen_blocks.ids | excluded.ids""",  # noqa: S608  a constant
            *run.lease.instance,
            run.run_id,
            kind,
            list(blocks),
            [BitString.frombytes(bytes(bits), IDS_PER_BLOCK) for bits in blocks.values()],
        )


async def count(connection: Any, instance: InstanceKey, run_id: UUID, kind: Kind) -> int:
    """Return how many different rows of a kind a run has read."""
    number: int = await connection.fetchval(
        """SELECT coalesce(sum(bit_count(ids)), 0)::bigint FROM connector.seen_blocks
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3 AND kind = $4""",
        *instance,
        run_id,
        kind,
    )
    return number


async def clear(connection: Any, instance: InstanceKey, run_id: UUID, kind: Kind) -> None:
    """Delete what a run has read of a kind, because it reads the list again."""
    await connection.execute(
        """DELETE FROM connector.seen_blocks
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3 AND kind = $4""",
        *instance,
        run_id,
        kind,
    )

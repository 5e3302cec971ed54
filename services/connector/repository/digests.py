"""What the published facts of an instance amount to, so that consumers and other instances can be compared with it."""

from typing import Any, Final
from uuid import UUID

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import IDS_PER_BLOCK

# Of each kind, per block of 10,000 ids: the number of rows, and the sum of the first 8 bytes of their fingerprints, modulo 2^64, in
# decimal digits.
Digests = dict[str, dict[int, tuple[int, str]]]

# 50 million rows without gaps. With more blocks, the event that carries them could become too large to be sent.
_MAX_BLOCKS: Final = 5_000
_MODULUS: Final = 2**64
_NEWEST_INVOICES, _SAMPLE, _MIN_EQUAL = 200, 40, 3


async def load(connection: Any, instance: InstanceKey) -> Digests:
    """Return the digests of all kinds. A block with a row that will be published again is left out."""
    digests: Digests = {}
    blocks = 0
    for kind in Kind:
        rows = await connection.fetch(
            # The signed numbers add up to the same sum as the unsigned ones, modulo 2^64.
            f"""SELECT id / {IDS_PER_BLOCK} AS block, count(*) AS count,
                   sum(('x' || encode(substr(fingerprint, 1, 8), 'hex'))::bit(64)::bigint) AS sum
               FROM connector.fingerprints WHERE organization_id = $1 AND instance_id = $2 AND kind = $3
               GROUP BY 1 HAVING bool_and(fingerprint IS NOT NULL) ORDER BY 1""",  # noqa: S608  a constant
            *instance,
            kind,
        )
        blocks += len(rows)
        if rows and blocks <= _MAX_BLOCKS:
            digests[kind] = {row["block"]: (row["count"], str(int(row["sum"]) % _MODULUS)) for row in rows}
    return digests


async def load_same(connection: Any, instance: InstanceKey) -> tuple[UUID, ...]:
    """Return the other instances of the organization that read the same WHMCS.

    Their newest invoices are equal in every field. Half of a sample is enough, because the others may have changed since the other
    instance read them.
    """
    rows = await connection.fetch(
        """WITH newest AS MATERIALIZED (
               SELECT id, fingerprint FROM connector.fingerprints
               WHERE organization_id = $1 AND instance_id = $2 AND kind = 'invoice' AND fingerprint IS NOT NULL
               ORDER BY id DESC LIMIT $3)
           SELECT i.instance_id FROM connector.instances i, newest n, connector.fingerprints f
           WHERE i.organization_id = $1 AND i.instance_id <> $2 AND i.state NOT IN ('deleting', 'deleted')
             AND f.organization_id = i.organization_id AND f.instance_id = i.instance_id
             AND f.kind = 'invoice' AND f.id = n.id AND f.fingerprint = n.fingerprint
           GROUP BY 1 HAVING count(*) >= greatest($4, least((SELECT count(*) FROM newest), $5) / 2)
           ORDER BY 1""",
        *instance,
        _NEWEST_INVOICES,
        _MIN_EQUAL,
        _SAMPLE,
    )
    return tuple(row["instance_id"] for row in rows)

"""What an instance knows about its lines: the names of its products, and which promotions recur."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut

# An instance has few products and promotions.
_NEWEST: Final = """
SELECT DISTINCT ON (id) id, body ->> '{name}' AS name, body ->> '{value}' AS value FROM metrics.versions
WHERE organization_id = $1 AND instance_id = $2 AND kind = '{kind}' AND epoch <= $3 AND body IS NOT NULL
ORDER BY id, epoch DESC, seq DESC"""

_PRODUCTS: Final = _NEWEST.format(kind="product", name="name", value="id")
_PROMOTIONS: Final = _NEWEST.format(kind="promotion", name="code", value="recurring")


async def read_products(connection: Connection, cut: Cut) -> Mapping[str, str]:
    """Return the key of each product by its name, without the names that several products share."""
    rows = await connection.fetch(_PRODUCTS, *cut.instance, cut.epoch)
    names = Counter(row["name"] for row in rows)
    return {row["name"]: f"service:{row['id']}" for row in rows if names[row["name"]] == 1}


async def read_promotions(connection: Connection, cut: Cut) -> Mapping[str, bool]:
    """Return of each promotion code whether it recurs; of a code that was used twice, as the newer promotion does."""
    rows = await connection.fetch(_PROMOTIONS, *cut.instance, cut.epoch)
    return {row["name"]: row["value"] == "true" for row in rows}

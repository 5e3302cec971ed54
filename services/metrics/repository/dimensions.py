"""Values of customers that figures are split by, as syncs saw them up to the cut of an applied run."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from libs.common.calendar import day_of
from services.metrics.formulas.evidence import Dated, add_value
from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut


class Dimensions(NamedTuple):
    """The groups and the countries of customers, in order of days. Customers without a value are missing."""

    customer_groups: Mapping[int, tuple[Dated, ...]]
    countries: Mapping[int, tuple[Dated, ...]]


# By primary key. A tombstone has no body, and a customer that was deleted keeps its last values.
_READ: Final = """
SELECT t.customer_id, t.kind, v.observed_at, v.value FROM unnest($3::bigint[]) AS ids (customer_id)
CROSS JOIN (VALUES ('customer', 'group_id'), ('customer_detail', 'country')) AS names (kind, field)
CROSS JOIN LATERAL (SELECT ids.customer_id, names.kind, names.field) t
CROSS JOIN LATERAL (
    SELECT epoch, seq, observed_at, body ->> t.field AS value FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = t.kind AND id = t.customer_id AND epoch <= $4
        AND body IS NOT NULL OFFSET 0) v
ORDER BY v.epoch, v.seq"""


async def read(connection: Connection, cut: Cut, customers: Collection[int], time_zone: str) -> Dimensions:
    """Return the values of customers as of a cut."""
    groups: dict[int, list[Dated]] = defaultdict(list)
    countries: dict[int, list[Dated]] = defaultdict(list)
    for row in await connection.fetch(_READ, *cut.instance, list(customers), cut.epoch):
        dated = Dated(day_of(row["observed_at"], time_zone), row["value"])
        if row["kind"] == "customer":
            add_value(groups[row["customer_id"]], dated)
        elif dated.value is not None:
            # A country that could not be read is no other country.
            add_value(countries[row["customer_id"]], dated)
    return Dimensions(*({id: tuple(dated) for id, dated in values.items()} for values in (groups, countries)))

"""Lists the subscriptions behind the gap between MRR by contract and paid MRR, the largest first, page by page."""

from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from libs.common.contracts.gaps import GapPart
from libs.common.contracts.money import format_micros, parse_micros
from libs.common.contracts.values import Count, Integer, Text
from libs.common.figures.coverage import sources_within
from libs.common.figures.groups import Group, Limits, key_of
from libs.common.figures.list_statements import gaps_statement
from libs.common.figures.questions import Scope, stretches_of
from libs.common.figures.reading import check_limits, limits_in_rows


class GapKey(NamedTuple):
    """The position of a gap in the list. A subscription has two rows where a value differs between both sides."""

    size_micros: Count
    instance_id: UUID
    kind: Text
    id: Integer
    number: Integer


@dataclass(frozen=True, slots=True)
class Gap:
    """A subscription whose MRR by contract is not what invoices paid: its part, both amounts, and their difference `gap`.

    It is so on the days [from_on, to_on); `to_on` is None while it lasts on the last known day.
    """

    id: str
    instance_id: UUID
    kind: str
    number: int
    customer_id: int
    part: str
    product: str
    product_name: str | None
    cycle: str
    currency: str
    contract_mrr: str
    paid_mrr: str
    gap: str
    from_on: date
    to_on: date | None

    @property
    def key(self) -> GapKey:
        """Return the position in the list."""
        size = abs(parse_micros(self.gap))
        return GapKey(size, self.instance_id, self.kind, int(self.id.rpartition(":")[2]), self.number)


@dataclass(frozen=True, slots=True)
class GapSelection:
    """The gaps of a day within limits, of the newest day if `on` is None: those of one part, all if None."""

    on: date | None
    part: GapPart | None = None
    limits: Limits = ()


async def read_gaps(
    connection: Any, scope: Scope, selection: GapSelection, after: GapKey | None, limit: int
) -> list[Gap]:
    """Return the next `limit` gaps behind `after`; raise QuestionError for a limit that no subscription has.

    The lens of the scope is `paid`.
    """
    await check_limits(connection, selection.limits)
    on = selection.on or scope.newest
    points = (on,) if on <= scope.newest else ()
    stretches = stretches_of(sources_within(selection.limits, scope.sources), points)
    limits = limits_in_rows(selection.limits)
    rows = await connection.fetch(
        gaps_statement(group for group, _ in limits),
        [stretch.instance_id for stretch in stretches],
        [stretch.kind for stretch in stretches],
        [stretch.opens_on for stretch in stretches],
        selection.part,
        limit,
        *(after or (None,) * len(GapKey._fields)),
        *(values for _, values in limits),
    )
    return [_gap(row) for row in rows]


def _gap(row: Any) -> Gap:
    return Gap(
        id=f"{row['instance_id']}:{row['kind']}:{row['id']}",
        instance_id=row["instance_id"],
        kind=row["kind"],
        number=row["number"],
        customer_id=row["customer_id"],
        part=row["part"],
        product=key_of(Group.PRODUCT, row["product"], row["instance_id"]),
        product_name=row["product_name"],
        cycle=row["cycle"],
        currency=row["currency"],
        contract_mrr=format_micros(row["contract_micros"]),
        paid_mrr=format_micros(row["paid_micros"]),
        gap=format_micros(row["gap_micros"]),
        from_on=row["from_on"],
        to_on=row["to_on"],
    )

"""Lists the subscriptions that may end soon, those that end first, page by page."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, NamedTuple
from uuid import UUID

from libs.common.contracts.money import format_micros, parse_micros
from libs.common.contracts.values import Integer, Text
from libs.common.figures.coverage import sources_within
from libs.common.figures.end_parts import CONDITIONS, EndPart
from libs.common.figures.groups import Group, Limits, key_of
from libs.common.figures.questions import Scope
from libs.common.figures.reading import check_limits, limits_in_rows
from libs.common.figures.relations import limited


class ExpectedEndKey(NamedTuple):
    """The position of a subscription in the list."""

    ends_on: date
    mrr_micros: Integer
    instance_id: UUID
    kind: Text
    id: Integer


@dataclass(frozen=True, slots=True)
class ExpectedEnd:
    """A subscription that counts on the last known day, and may not for long.

    It is paid until `due_on` and, by the lens `contract`, counts before `ends_on` if nothing changes. `is_requested`: it is not to renew.
    """

    id: str
    instance_id: UUID
    kind: str
    customer_id: int
    product: str
    product_name: str | None
    cycle: str
    status: str
    currency: str
    mrr: str
    due_on: date
    days_overdue: int
    ends_on: date
    is_requested: bool

    @property
    def key(self) -> ExpectedEndKey:
        """Return the position in the list."""
        number = int(self.id.rpartition(":")[2])
        return ExpectedEndKey(self.ends_on, parse_micros(self.mrr), self.instance_id, self.kind, number)


@dataclass(frozen=True, slots=True)
class EndSelection:
    """The parts that are listed, within limits."""

    parts: tuple[EndPart, ...]
    limits: Limits = ()


# $1 and $2 are sources, $3 is the lens, $4 the size of a page. The key of the row before it and the values of limits follow.
_EXPECTED_ENDS: Final = """
SELECT s.instance_id, s.kind, s.id, s.customer_id, s.product, s.product_name, s.cycle, s.status, s.currency, s.mrr_micros, s.due_on,
    greatest(s.last_on - s.due_on, 0) AS days_overdue, s.ends_on, s.is_requested
FROM metrics_read.expected_ends s JOIN unnest($1::uuid[], $2::text[]) AS t (instance_id, kind)
    ON t.instance_id = s.instance_id AND t.kind = s.kind
WHERE s.lens = $3 AND ({parts})
  AND ($5::date IS NULL
      OR (s.ends_on, -s.mrr_micros, s.instance_id, s.kind, s.id) > ($5, -$6::bigint, $7::uuid, $8::text, $9::bigint)){limits}
ORDER BY s.ends_on, -s.mrr_micros, s.instance_id, s.kind, s.id LIMIT $4"""


def expected_ends_statement(parts: Iterable[EndPart], limits: Iterable[Group]) -> str:
    """Return the statement of the list of some parts; the values of limits begin with $10."""
    conditions = " OR ".join(f"({CONDITIONS[part]})" for part in parts)
    return _EXPECTED_ENDS.format(parts=conditions or "false", limits=limited(limits, 10))


async def read_expected_ends(
    connection: Any, scope: Scope, selection: EndSelection, after: ExpectedEndKey | None, limit: int
) -> list[ExpectedEnd]:
    """Return the next `limit` subscriptions behind `after`; raise QuestionError for a limit that no subscription has."""
    await check_limits(connection, selection.limits)
    sources = sources_within(selection.limits, scope.sources)
    limits = limits_in_rows(selection.limits)
    rows = await connection.fetch(
        expected_ends_statement(selection.parts, [group for group, _ in limits]),
        [source.instance_id for source in sources],
        [source.kind for source in sources],
        scope.lens,
        limit,
        *(after or (None,) * len(ExpectedEndKey._fields)),
        *(values for _, values in limits),
    )
    return [_expected_end(row) for row in rows]


def _expected_end(row: Any) -> ExpectedEnd:
    return ExpectedEnd(
        id=f"{row['instance_id']}:{row['kind']}:{row['id']}",
        instance_id=row["instance_id"],
        kind=row["kind"],
        customer_id=row["customer_id"],
        product=key_of(Group.PRODUCT, row["product"], row["instance_id"]),
        product_name=row["product_name"],
        cycle=row["cycle"],
        status=row["status"],
        currency=row["currency"],
        mrr=format_micros(row["mrr_micros"]),
        due_on=row["due_on"],
        days_overdue=row["days_overdue"],
        ends_on=row["ends_on"],
        is_requested=row["is_requested"],
    )

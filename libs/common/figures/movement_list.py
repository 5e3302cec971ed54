"""Lists the movements behind a figure, the largest first, page by page."""

from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from libs.common.contracts.money import format_micros, parse_micros
from libs.common.contracts.values import Count, Integer
from libs.common.figures.conversions import rates_of_days
from libs.common.figures.coverage import sources_within
from libs.common.figures.errors import QuestionError
from libs.common.figures.groups import Group, Limits, key_of
from libs.common.figures.list_statements import movements_statement
from libs.common.figures.questions import Scope, day_before, stretches_of
from libs.common.figures.rates import Target
from libs.common.figures.reading import check_limits, limits_in_rows


class MovementKey(NamedTuple):
    """The position of a movement in the list."""

    size_micros: Count
    on: date
    instance_id: UUID
    customer_id: Integer
    number: Integer


@dataclass(frozen=True, slots=True)
class Movement:
    """What one subscription contributes to a movement of its customer on a day. What is lost is negative.

    `number` counts the movements of the customer on the day.
    """

    id: str
    instance_id: UUID
    customer_id: int
    on: date
    number: int
    kind: str
    movement: str
    reason: str | None
    amount: str
    currency: str
    product: str
    from_product: str | None
    to_product: str | None
    cycle: str
    days_away: int | None
    basis: str

    @property
    def key(self) -> MovementKey:
        """Return the position in the list."""
        size = abs(parse_micros(self.amount))
        return MovementKey(size, self.on, self.instance_id, self.customer_id, self.number)


@dataclass(frozen=True, slots=True)
class MovementSelection:
    """The movements of the days [start, end] within limits: of some kinds and reasons, all if None.

    `at_start`: only those of customers who paid on the day before `start`. Amounts are converted into the currency of `target`, each at the
    rate of its day.
    """

    start: date
    end: date
    movements: tuple[str, ...] | None = None
    reasons: tuple[str, ...] | None = None
    at_start: bool = False
    limits: Limits = ()
    target: Target | None = None


async def read_movements(
    connection: Any, scope: Scope, selection: MovementSelection, after: MovementKey | None, limit: int
) -> list[Movement]:
    """Return the next `limit` movements behind `after`.

    Raise QuestionError for days that are not allowed, or a limit that no subscription has.
    """
    if selection.start > selection.end:
        raise QuestionError(
            "range_invalid",
            f"The range starts after its end, {selection.end}. Choose an earlier start.",
            "start",
        )
    await check_limits(connection, selection.limits)
    before, end = day_before(selection.start), min(selection.end, scope.newest)
    sources = sources_within(selection.limits, scope.sources)
    stretches = stretches_of(sources, (before, end)) if before < end else []
    # A figure is not known unless the day before it is, so its list has no rows.
    if all(stretch.opens_on > before for stretch in stretches):
        stretches = []
    limits = limits_in_rows(selection.limits)
    conversion = scope.conversion(selection.target)
    rates = rates_of_days(conversion, before, max(before, end)) if conversion else None
    rows = await connection.fetch(
        movements_statement((group for group, _ in limits), is_converted=rates is not None),
        [stretch.instance_id for stretch in stretches],
        [stretch.kind for stretch in stretches],
        [stretch.opens_on for stretch in stretches],
        [stretch.last_on for stretch in stretches],
        selection.movements,
        selection.reasons,
        selection.at_start,
        before,
        limit,
        *(after or (None,) * len(MovementKey._fields)),
        scope.lens,
        *([*rates.values, conversion.currency, rates.change_days] if conversion and rates else []),
        *(values for _, values in limits),
    )
    return [_movement(row) for row in rows]


def _movement(row: Any) -> Movement:
    instance_id = row["instance_id"]

    def product(name: str) -> str | None:
        value = row[name]
        return None if value is None else key_of(Group.PRODUCT, value, instance_id)

    return Movement(
        id=f"{instance_id}:{row['kind']}:{row['id']}",
        instance_id=instance_id,
        customer_id=row["customer_id"],
        on=row["on"],
        number=row["number"],
        kind=row["kind"],
        movement=row["movement"],
        reason=row["reason"],
        amount=format_micros(row["amount_micros"]),
        currency=row["currency"],
        product=key_of(Group.PRODUCT, row["product"], instance_id),
        from_product=product("from_product"),
        to_product=product("to_product"),
        cycle=row["cycle"],
        days_away=row["days_away"],
        basis=row["basis"],
    )

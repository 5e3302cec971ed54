"""Lists restatements, by which closed days changed, the newest first, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from libs.common.contracts.money import format_micros
from libs.common.contracts.values import Count
from libs.common.figures.errors import QuestionError
from libs.common.figures.questions import Scope

_RESTATEMENTS: Final = """
SELECT number, instance_id, at, cause, lens, kind, currency, from_on, to_on, change_micros, before_micros, after_micros
FROM metrics_read.restatements
WHERE instance_id = ANY ($1::uuid[]) AND lens = $2 AND ($3::date IS NULL OR to_on > $3) AND ($4::date IS NULL OR from_on <= $4)
  AND ($5::text[] IS NULL OR cause = ANY ($5)) AND ($6::text[] IS NULL OR currency = ANY ($6))
  AND ($7::bigint IS NULL OR number < $7)
ORDER BY number DESC LIMIT $8"""


class RestatementKey(NamedTuple):
    """The position of a restatement in the list."""

    number: Count


@dataclass(frozen=True, slots=True)
class Restatement:
    """By how much MRR changed on each of the days [from_on, to_on), all closed before; on the first from `mrr_before` to `mrr_after`.

    `at` is when it changed.
    """

    number: int
    instance_id: UUID
    at: datetime
    cause: str
    kind: str
    currency: str
    from_on: date
    to_on: date
    change: str
    mrr_before: str
    mrr_after: str

    @property
    def key(self) -> RestatementKey:
        """Return the position in the list."""
        return RestatementKey(self.number)


@dataclass(frozen=True, slots=True)
class RestatementSelection:
    """The restatements that touch the days [start, end], for some causes and in some currencies; all where a field is None."""

    start: date | None = None
    end: date | None = None
    causes: Sequence[str] | None = None
    currencies: Sequence[str] | None = None


async def read_restatements(
    connection: Any, scope: Scope, selection: RestatementSelection, after: RestatementKey | None, limit: int
) -> list[Restatement]:
    """Return the next `limit` restatements behind `after`; raise QuestionError for a range that starts after its end."""
    if selection.start and selection.end and selection.start > selection.end:
        raise QuestionError(
            "range_invalid",
            f"The range starts after its end, {selection.end}. Choose an earlier start.",
            "start",
        )
    rows = await connection.fetch(
        _RESTATEMENTS,
        [instance.instance_id for instance in scope.instances],
        scope.lens,
        selection.start,
        selection.end,
        selection.causes,
        selection.currencies,
        after.number if after else None,
        limit,
    )
    return [
        Restatement(
            number=row["number"],
            instance_id=row["instance_id"],
            at=row["at"],
            cause=row["cause"],
            kind=row["kind"],
            currency=row["currency"],
            from_on=row["from_on"],
            to_on=row["to_on"],
            change=format_micros(row["change_micros"]),
            mrr_before=format_micros(row["before_micros"]),
            mrr_after=format_micros(row["after_micros"]),
        )
        for row in rows
    ]

"""Lists the subscriptions that are not in every total, with the reason of each, page by page."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from libs.common.contracts.values import Integer, Text
from libs.common.figures.explain import words_of_issue
from libs.common.figures.questions import Scope

_ISSUES: Final = """
SELECT instance_id, kind, id, customer_id, reason FROM metrics_read.issues
WHERE instance_id = ANY ($1::uuid[]) AND ($2::text[] IS NULL OR reason = ANY ($2))
  AND ($3::text IS NULL OR (reason, instance_id, kind, id) > ($3, $4::uuid, $5::text, $6::bigint))
ORDER BY reason, instance_id, kind, id LIMIT $7"""


class IssueKey(NamedTuple):
    """The position of an issue in the list."""

    reason: Text
    instance_id: UUID
    kind: Text
    number: Integer


@dataclass(frozen=True, slots=True)
class Issue:
    """A subscription that is not in every total, and why, also in words. `customer_id` is None if it never could be read."""

    id: str
    instance_id: UUID
    kind: str
    number: int
    customer_id: int | None
    reason: str
    words: str

    @property
    def key(self) -> IssueKey:
        """Return the position in the list."""
        return IssueKey(self.reason, self.instance_id, self.kind, self.number)


async def read_issues(
    connection: Any, scope: Scope, reasons: list[str] | None, after: IssueKey | None, limit: int
) -> list[Issue]:
    """Return the next `limit` issues behind `after`, only those for some reasons, or all if None."""
    rows = await connection.fetch(
        _ISSUES,
        [instance.instance_id for instance in scope.instances],
        reasons,
        *(after or (None,) * len(IssueKey._fields)),
        limit,
    )
    return [
        Issue(
            id=f"{row['instance_id']}:{row['kind']}:{row['id']}",
            instance_id=row["instance_id"],
            kind=row["kind"],
            number=row["id"],
            customer_id=row["customer_id"],
            reason=row["reason"],
            words=words_of_issue(row["reason"]),
        )
        for row in rows
    ]

"""The page of data quality: every subscription that is not in every total, why, and what to do in WHMCS."""

from itertools import groupby
from typing import Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import TypeAdapter

from libs.common.figures.issue_list import Issue, IssueKey
from services.gateway.context import ContextDependency
from services.gateway.figures import issues
from services.gateway.instances.views import list_instances
from services.gateway.pages.callers import CustomersReader
from services.gateway.pages.findings import link
from services.gateway.pages.rendering import page
from services.gateway.paging import Cursor, key_of, page_of

router = APIRouter()

_ROWS: Final = 50
_KEY: Final = TypeAdapter(IssueKey)


class Row(NamedTuple):
    """A subscription as the list shows it, with its page in WHMCS; None where that is not known."""

    name: str
    instance: str
    href: str | None
    customer: str | None


class Group(NamedTuple):
    """The subscriptions of one reason on this page of the list."""

    reason: str
    words: str
    rows: list[Row]


@router.get("/settings/data")
async def show_data_quality(
    request: Request, context: ContextDependency, principal: CustomersReader, cursor: Cursor = None
) -> HTMLResponse:
    """Show a page of the subscriptions that are not in every total, by reason."""
    instances = {instance.id: instance for instance in await list_instances(context, principal)}
    listed = await issues(context, principal, None, key_of(cursor, _KEY), _ROWS + 1, instance_ids=[])
    shown = page_of(listed, _ROWS, lambda row: tuple(row.key))

    def row_of(issue: Issue) -> Row:
        instance = instances.get(issue.instance_id)
        return Row(
            name=f"{issue.kind.capitalize()} {issue.number}",
            instance=instance.name if instance else "",
            href=link(instance.address if instance else None, issue.kind, issue.number),
            customer=None
            if issue.customer_id is None
            else f"{principal.home}/customers/{issue.instance_id}/{issue.customer_id}",
        )

    path = f"{principal.home}/settings/data"
    return page(
        request,
        "data.html",
        principal=principal,
        groups=[
            Group(reason, members[0].words, [row_of(issue) for issue in members])
            for reason, of_reason in groupby(shown.items, key=lambda issue: issue.reason)
            for members in [list(of_reason)]
        ],
        first=path if cursor else None,
        next=shown.next and f"{path}?cursor={shown.next}",
    )

"""The subscriptions that may end soon: overdue, suspended, or not to renew."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import TypeAdapter

from libs.common.contracts.lenses import Lens
from libs.common.figures.end_list import EndSelection, ExpectedEnd, ExpectedEndKey
from libs.common.figures.end_parts import EndPart
from services.gateway import figures
from services.gateway.api.questions import ByLens, CustomersReader, InInstances, InLimits
from services.gateway.context import ContextDependency
from services.gateway.paging import Cursor, Limit, Page, key_of, page_of

router = APIRouter(tags=["metrics"])

_KEY: Final = TypeAdapter(ExpectedEndKey)


@router.get("/expected-ends")
async def list_expected_ends(
    context: ContextDependency,
    principal: CustomersReader,
    part: Annotated[
        list[EndPart] | None,
        Query(
            max_length=len(EndPart),
            description="Only these parts of `mrr_at_risk` and `scheduled_churn`; repeated.",
        ),
    ] = None,
    lens: ByLens = Lens.CONTRACT,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ExpectedEnd]:
    """List the subscriptions that count on the last known day and may end soon, the first to end first. Their MRR sums to the parts."""
    rows = await figures.expected_ends(
        context,
        principal,
        EndSelection(tuple(part) if part else tuple(EndPart), limits),
        key_of(cursor, _KEY),
        limit + 1,
        lens=lens,
        instance_ids=instance_ids or [],
    )
    return page_of(rows, limit, lambda row: tuple(row.key))

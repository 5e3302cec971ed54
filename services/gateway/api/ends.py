"""The subscriptions that may end soon: overdue, suspended, or not to renew."""

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from pydantic import TypeAdapter

from libs.common.contracts.lenses import Lens
from libs.common.figures.end_list import EndSelection, ExpectedEnd, ExpectedEndKey
from libs.common.figures.end_parts import EndPart
from services.gateway import figures
from services.gateway.api.forms import Form
from services.gateway.api.listing import InForm, Listing
from services.gateway.api.questions import ByLens, CustomersReader, InInstances, InLimits
from services.gateway.context import ContextDependency
from services.gateway.paging import Cursor, Limit, Page

router = APIRouter(tags=["metrics"])

_ENDS: Final = Listing(ExpectedEnd, TypeAdapter(ExpectedEndKey))


@router.get(
    "/expected-ends",
    response_model=Page[ExpectedEnd],
    responses=_ENDS.described(
        "7c0a3b1e:service:2041,7c0a3b1e,service,77,7c0a3b1e:service:4,Business hosting,annually,active,EUR,12.500000,"
        "2026-11-18,5,2026-12-03,false"
    ),
)
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
    form: InForm = Form.JSON,
) -> Page[ExpectedEnd] | Response:
    """List the subscriptions that count on the last known day and may end soon, the first to end first. Their MRR sums to the parts."""
    selection = EndSelection(tuple(part) if part else tuple(EndPart), limits)

    async def read(after: ExpectedEndKey | None, number: int) -> Sequence[ExpectedEnd]:
        return await figures.expected_ends(
            context, principal, selection, after, number, lens=lens, instance_ids=instance_ids or []
        )

    return await _ENDS.answer(read, cursor, limit, form)

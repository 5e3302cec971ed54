"""Cohorts: how many customers, and how much of their MRR, are there months after they came."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import TypeAdapter

from libs.common.contracts.lenses import Lens
from libs.common.figures.cohorts import CohortCustomer, CohortCustomerKey, CohortSelection, Months
from libs.common.figures.matrix import Matrix
from services.gateway import figures
from services.gateway.api.forms import TYPES, Form, csv_answer
from services.gateway.api.listing import InForm, Listing
from services.gateway.api.questions import ByLens, CustomersReader, InInstances, InLimits, Reader
from services.gateway.context import ContextDependency
from services.gateway.exports import cohort_table, csv_text
from services.gateway.paging import Cursor, Limit, Page

router = APIRouter(tags=["metrics"])

_CUSTOMERS: Final = Listing(CohortCustomer, TypeAdapter(CohortCustomerKey))
_CSV_EXAMPLE: Final = (
    "currency,month,is_earlier,joined,size,mrr,months_after,on,customers,gross_mrr,net_mrr,"
    "customers_retained,gross_mrr_retained,net_mrr_retained,reason,complete\r\n"
    "EUR,2026-09-01,false,12,12,240.000000,1,2026-10-31,11,220.000000,250.000000,0.916667,0.916667,1.041667,,true\r\n"
)


@router.get("/metrics/cohorts", response_model=Matrix, responses={200: csv_answer(_CSV_EXAMPLE)})
async def get_cohorts(
    context: ContextDependency,
    principal: Reader,
    start: Annotated[date | None, Query(description="A day of the first month of cohorts.")] = None,
    end: Annotated[date | None, Query(description="A day of the last month of cohorts.")] = None,
    lens: ByLens = Lens.CONTRACT,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    form: Annotated[
        Form, Query(alias="format", description="`csv`: a table for spreadsheets, one row per cell.")
    ] = Form.JSON,
) -> Response:
    """Return for each month the customers whose first MRR fell into it, and what is left of them at the end of each month since."""
    matrix = await figures.cohorts(
        context, principal, Months(start, end, limits), lens=lens, instance_ids=instance_ids or []
    )
    is_csv = form is Form.CSV
    body = (
        csv_text(cohort_table(matrix)).encode() if is_csv else orjson.dumps(matrix, option=orjson.OPT_UTC_Z)
    )
    return Response(body, media_type=TYPES[form])


@router.get(
    "/cohort-customers",
    response_model=Page[CohortCustomer],
    responses=_CUSTOMERS.described("7c0a3b1e:customer:77,7c0a3b1e,77,EUR,2026-10-12,19.950000,27.450000"),
)
async def list_cohort_customers(
    context: ContextDependency,
    principal: CustomersReader,
    month: Annotated[date, Query(description="Any day of the month of the cohort.")],
    months_after: Annotated[int, Query(ge=0, le=1_200, description="How many months later.")] = 0,
    is_earlier: Annotated[
        bool,
        Query(
            description="The customers who were there on the first known day, in place of those who came later."
        ),
    ] = False,
    lens: ByLens = Lens.CONTRACT,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    form: InForm = Form.JSON,
) -> Page[CohortCustomer] | Response:
    """List the customers of a cohort with their MRR at the end of month 0 and of a later month. It sums to the `net_mrr` of the cell."""
    selection = CohortSelection(month, months_after, is_earlier, limits)

    async def read(after: CohortCustomerKey | None, number: int) -> Sequence[CohortCustomer]:
        return await figures.cohort_customers(
            context, principal, selection, after, number, lens=lens, instance_ids=instance_ids or []
        )

    return await _CUSTOMERS.answer(read, cursor, limit, form)

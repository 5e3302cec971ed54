"""Metrics: the catalogue, and the figures of each metric in the same shape."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import METRICS
from libs.common.figures.groups import Group
from libs.common.figures.metric import Good
from libs.common.figures.operands import Unit
from libs.common.figures.periods import Compare, Interval
from libs.common.figures.questions import Question
from libs.common.figures.rates import NATIVE, Fx
from services.gateway import figures
from services.gateway.api.forms import TYPES, Form, csv_answer
from services.gateway.api.questions import (
    Among,
    ByLens,
    ByRates,
    Currency,
    EndDay,
    GroupBy,
    InInstances,
    InLimits,
    Reader,
    among_of,
    groups_of,
    metric_of,
    newest_day,
    refuse_limits,
    target_of,
)
from services.gateway.comparisons import compared
from services.gateway.context import ContextDependency
from services.gateway.exports import csv_text, figure_table

router = APIRouter(prefix="/metrics", tags=["metrics"])

_PIECE: Final = 64 * 1024

# `no-cache` makes a shared browser ask again each time; `Vary` keeps one caller from getting the figures of another.
_CLOSED: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}


_CSV_EXAMPLE: Final = "on,currency,mrr,reason,complete\r\n2026-11-23,EUR,1234.560000,,false\r\n"


class MetricDescription(BaseModel):
    """A metric. `good` is the direction that is good news. The values of the groups of an additive metric sum to the total."""

    slug: str
    title: str
    unit: Unit
    good: Good
    additive: bool
    description: str
    groups: tuple[Group, ...]
    filters: tuple[Group, ...]
    lenses: tuple[Lens, ...]


class Catalogue(BaseModel):
    """Every metric, with its groups, filters and lenses."""

    metrics: tuple[MetricDescription, ...]


@router.get("")
async def list_metrics(principal: Reader) -> Catalogue:
    """List every metric with what it can be split by and limited to."""
    return Catalogue(
        metrics=tuple(
            MetricDescription(
                slug=metric.slug,
                title=metric.title,
                unit=metric.unit,
                good=metric.good,
                additive=metric.additive,
                description=metric.words,
                groups=metric.groups,
                filters=metric.filters,
                lenses=(metric.lens,) if metric.lens else tuple(Lens),
            )
            for metric in METRICS
        )
    )


@router.get(
    "/{slug}",
    response_model=Figure,
    responses={
        200: csv_answer(_CSV_EXAMPLE),
        304: {"description": "Nothing changed since the answer with this ETag."},
    },
)
async def get_metric(
    context: ContextDependency,
    principal: Reader,
    slug: str,
    start: Annotated[date | None, Query(description="First day; without it, `end` alone.")] = None,
    end: EndDay = None,
    interval: Annotated[
        Interval, Query(description="Points are the last days of its intervals.")
    ] = Interval.DAY,
    group_by: GroupBy = None,
    currency: Currency = NATIVE,
    fx: ByRates = Fx.DAILY,
    lens: ByLens = Lens.CONTRACT,
    compare: Annotated[
        Compare | None,
        Query(
            description="Also answer for the range before (`previous`), or for the same a year before (`year`)."
        ),
    ] = None,
    among: Among = None,
    limits: InLimits = (),
    instance_ids: InInstances = None,
    form: Annotated[
        Form, Query(alias="format", description="`csv`: a table for spreadsheets, one row per point.")
    ] = Form.JSON,
    if_none_match: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Return a metric over days. Money and ratios are decimal strings with six places, a count is an integer, null has a `reason`.

    An answer whose points are all complete has an ETag.
    """
    chosen = instance_ids or []
    metric = metric_of(slug)
    groups = groups_of(metric, group_by or [])
    refuse_limits(metric, limits)
    last = end or await newest_day(context, principal, chosen)
    question = Question(metric, start or last, last, interval, groups, limits, target_of(currency, fx))
    answer = await compared(
        context,
        principal,
        question,
        compare,
        among_of(metric, limits, among or []),
        lens=lens,
        instance_ids=chosen,
    )
    is_small = sum(len(series.points) for series in answer.series) <= figures.SMALL
    body, etag = (
        _rendered(answer, form) if is_small else await context.answer_workers.run(_rendered, answer, form)
    )
    return _response(body, etag, if_none_match or "", TYPES[form])


def _rendered(answer: Figure, form: Form) -> tuple[bytes, str | None]:
    """Return the answer in a form, and its ETag when it has points and all are complete."""
    is_csv = form is Form.CSV
    body = (
        csv_text(figure_table(answer)).encode() if is_csv else orjson.dumps(answer, option=orjson.OPT_UTC_Z)
    )
    is_open = not all(point.complete for series in answer.series for point in series.points)
    if is_open or not any(series.points for series in answer.series):
        return body, None
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _response(body: bytes, etag: str | None, if_none_match: str, media_type: str) -> Response:
    headers = {} if etag is None else {**_CLOSED, "ETag": etag}
    if etag is not None and etag in [tag.strip() for tag in if_none_match.split(",")]:
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(len(body))
    return StreamingResponse(_pieces(body), media_type=media_type, headers=headers)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """Yield the body in pieces, so that other requests make progress while it is compressed and sent."""
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]
        await asyncio.sleep(0)

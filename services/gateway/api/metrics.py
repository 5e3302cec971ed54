"""Metrics: the catalogue, and every figure in one shape."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import NATIVE, Figure
from libs.common.figures.catalogue import BY_SLUG, METRICS
from libs.common.figures.metric import Good, Metric
from libs.common.figures.operands import Unit
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from libs.common.figures.relations import Group
from services.gateway import figures
from services.gateway.api.caller import caller
from services.gateway.context import Context, Here
from services.gateway.errors import Invalid, NotFound
from services.gateway.principals import Principal

router = APIRouter(prefix="/metrics", tags=["metrics"])

_MOST_GROUPS: Final = 20
_MOST_INSTANCES: Final = 200
_PIECE: Final = 64 * 1024

Reader = Annotated[Principal, Depends(caller("metrics:read"))]

# Whoever shares a browser asks again each time, and is told that nothing changed only about figures of their own.
_CLOSED: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}


class MetricDescription(BaseModel):
    """A metric. `good` is the direction that is good news; `additive`: the groups' values sum to the total."""

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
    """Every metric, with what it can be split by and seen through."""

    metrics: tuple[MetricDescription, ...]


@router.get("")
async def list_metrics(principal: Reader) -> Catalogue:
    """What can be asked for."""
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
                lenses=tuple(Lens),
            )
            for metric in METRICS
        )
    )


@router.get(
    "/{slug}",
    response_model=Figure,
    responses={304: {"description": "Nothing changed since the answer with this ETag."}},
)
async def get_metric(
    context: Here,
    principal: Reader,
    slug: str,
    start: Annotated[date | None, Query(description="First day; without it, `end` alone.")] = None,
    end: Annotated[date | None, Query(description="Last day; without it, the newest that is known.")] = None,
    interval: Annotated[
        Interval, Query(description="Points are the last days of its intervals.")
    ] = Interval.DAY,
    group_by: Annotated[
        list[str] | None,
        Query(
            max_length=_MOST_GROUPS, description=f"Of {', '.join(Group)}; repeated, or separated by commas."
        ),
    ] = None,
    currency: Annotated[
        str, Query(description="`native`: each subscription's own; money is grouped by it.")
    ] = NATIVE,
    lens: Annotated[Lens, Query(description="What counts as live.")] = Lens.CONTRACT,
    instance_ids: Annotated[
        list[UUID] | None,
        Query(
            alias="filter[instance]",
            max_length=_MOST_INSTANCES,
            description="Only these instances; repeated.",
        ),
    ] = None,
    if_none_match: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """A metric over days. Money is a decimal string with six places, a count an integer, null comes with its `reason`.

    An answer of complete points alone has an ETag.
    """
    chosen = instance_ids or []
    last = end or await _newest(context, principal, chosen)
    metric = _metric(slug)
    question = Question(metric, start or last, last, interval, _groups(metric, group_by or []))
    _refuse_conversion(currency)
    [answer] = await figures.figures(context, principal, [question], lens=lens, instance_ids=chosen)
    is_small = sum(len(series.points) for series in answer.series) <= figures.SMALL
    body, etag = _rendered(answer) if is_small else await context.answer_workers.run(_rendered, answer)
    headers = {} if etag is None else {**_CLOSED, "ETag": etag}
    if etag is not None and etag in [tag.strip() for tag in (if_none_match or "").split(",")]:
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(len(body))
    return StreamingResponse(_pieces(body), media_type="application/json", headers=headers)


async def _newest(context: Context, principal: Principal, instance_ids: list[UUID]) -> date:
    known = await figures.freshness(context, principal, instance_ids)
    return max((one.last_on for one in known if one.last_on is not None), default=context.clock().date())


def _metric(slug: str) -> Metric:
    if slug not in BY_SLUG:
        raise NotFound(
            "metric_unknown", f"There is no metric {slug:.40}. Choose one of {', '.join(BY_SLUG)}."
        )
    return BY_SLUG[slug]


def _refuse_conversion(currency: str) -> None:
    if currency != NATIVE:
        raise Invalid(
            "currency_unknown", "Figures are in their own currency for now: use currency=native.", "currency"
        )


def _groups(metric: Metric, given: list[str]) -> tuple[Group, ...]:
    names = [name.strip() for value in given for name in value.split(",") if name.strip()]
    if not set(names) <= set(metric.groups):
        raise Invalid("group_unknown", f"Group by any of {', '.join(metric.groups)}.", "group_by")
    return tuple(Group(name) for name in names)


def _rendered(answer: Figure) -> tuple[bytes, str | None]:
    """Return the answer as JSON, and its ETag when it has points and all are complete."""
    body = orjson.dumps(answer, option=orjson.OPT_UTC_Z)
    is_open = not all(point.complete for series in answer.series for point in series.points)
    if is_open or not any(series.points for series in answer.series):
        return body, None
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """Hand the body on in pieces, so that others have their turn while it is compressed and sent."""
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]
        await asyncio.sleep(0)

"""The values to which figures can be limited, with their names and how many subscriptions each has."""

from datetime import date
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.groups import Group
from libs.common.figures.questions import Question
from services.gateway import figures
from services.gateway.api.questions import ByLens, InInstances, Reader, newest_day
from services.gateway.context import ContextDependency

router = APIRouter(prefix="/filters", tags=["metrics"])

_MOST_VALUES: Final = 1_000


class FilterValue(BaseModel):
    """A value of a filter, the name that people know it by, and how many subscriptions that count have it."""

    value: str
    name: str | None
    subscriptions: int


class FilterValues(BaseModel):
    """A filter and its values, those of most subscriptions first. `others` are not listed."""

    group: Group
    values: tuple[FilterValue, ...]
    others: int


class Filters(BaseModel):
    """All filters on the newest known day."""

    on: date
    lens: Lens
    filters: tuple[FilterValues, ...]


@router.get("")
async def list_filters(
    context: ContextDependency,
    principal: Reader,
    lens: ByLens = Lens.CONTRACT,
    instance_ids: InInstances = None,
) -> Filters:
    """List what figures can be limited to: every filter with the values that subscriptions have on the newest known day."""
    chosen = instance_ids or []
    on = await newest_day(context, principal, chosen)
    answers = []
    # Asked together, they would share a statement that groups by all of them at once, with about a row for each subscription.
    for group in Group:
        question = Question(BY_SLUG["subscriptions"], on, on, group_by=(group,))
        answers += await figures.figures(context, principal, [question], lens=lens, instance_ids=chosen)
    listed = (_values(group, answer) for group, answer in zip(Group, answers, strict=True))
    return Filters(on=on, lens=lens, filters=tuple(listed))


def _values(group: Group, answer: Figure) -> FilterValues:
    values = [
        FilterValue(
            value=series.group[group],
            name=series.names.get(group),
            subscriptions=int(series.points[-1].value or 0),
        )
        for series in answer.series
        if series.points and series.points[-1].value
    ]
    values.sort(key=lambda value: (-value.subscriptions, value.value))
    return FilterValues(group=group, values=tuple(values[:_MOST_VALUES]), others=len(values[_MOST_VALUES:]))

"""Figures beside others: of an earlier range, and of several filters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import Compared, Figure, side_by_side
from libs.common.figures.errors import QuestionError
from libs.common.figures.groups import Limits
from libs.common.figures.periods import Compare, earlier
from libs.common.figures.questions import Question
from services.gateway.context import Context
from services.gateway.errors import Invalid
from services.gateway.figures import figures
from services.gateway.principals import Principal


async def compared(
    context: Context,
    principal: Principal,
    question: Question,
    compare: Compare | None,
    among: Mapping[str, Limits],
    *,
    lens: Lens,
    instance_ids: Sequence[UUID],
) -> Figure:
    """Return the answer to a question, with that of an earlier range, and side by side for each of the limits `among`.

    All come from one transaction. Raise NotFound for an unknown instance, Invalid for a question that cannot be answered.
    """
    asked = [replace(question, limits=limits) for limits in among.values()] or [question]
    before = [] if compare is None else [_earlier(part, compare) for part in asked]
    answers = await figures(context, principal, [*asked, *before], lens=lens, instance_ids=instance_ids)
    figure = _together(answers[: len(asked)], among)
    if not before:
        return figure
    series = _together(answers[len(asked) :], among).series
    return replace(figure, compared=Compared(before[0].start, before[0].end, series))


def _together(answers: Sequence[Figure], among: Mapping[str, Limits]) -> Figure:
    return side_by_side(dict(zip(among, answers, strict=True))) if among else answers[0]


def _earlier(question: Question, compare: Compare) -> Question:
    try:
        start, end = earlier(question.start, question.end, question.interval, compare)
    except QuestionError as error:
        raise Invalid(error.code, error.message, error.field) from error
    return replace(question, start=start, end=end)

"""The page that explains a figure: its formula, numbers, settings, omissions and sources. It opens as a panel beside other pages."""

from datetime import date
from typing import Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.groups import Group
from libs.common.figures.operands import Unit
from services.gateway.context import ContextDependency
from services.gateway.errors import NotFound
from services.gateway.explanations import ExplainedMetric, GroupValue, SourceState, explained
from services.gateway.kinds import title as kind_title
from services.gateway.pages.callers import MetricsReader
from services.gateway.pages.filters import AddressFilters
from services.gateway.pages.reasons import reason_text
from services.gateway.pages.rendering import page
from services.gateway.pages.restatements import rows_of
from services.gateway.pages.tiles import value_text
from services.gateway.pages.times import local

router = APIRouter()

_SIGNS: Final = {" * ": " \N{MULTIPLICATION SIGN} ", " / ": " \N{DIVISION SIGN} ", " - ": " \N{MINUS SIGN} "}


class Number(NamedTuple):
    """A number of the formula. `value` is exact, `text` is for reading."""

    title: str
    value: str | int | None
    text: str


class Value(NamedTuple):
    """The value in one currency or in all, and the numbers behind it; without a value, `reason` says why."""

    number: Number
    currency: str | None
    reason: str
    is_complete: bool
    operands: tuple[Number, ...]


class Source(NamedTuple):
    """How fresh the rows of one kind in one instance are, in words."""

    instance: str
    kind: str
    known_until: str
    read: str
    is_missing: bool


@router.get("/explain/{slug}")
async def explain(
    request: Request,
    context: ContextDependency,
    principal: MetricsReader,
    slug: str,
    filters: AddressFilters,
    start: date | None = None,
    on: date | None = None,
) -> HTMLResponse:
    """Explain a figure on a day, by default the newest known one, in the chosen currency or in all."""
    metric = BY_SLUG.get(slug)
    if metric is None:
        raise NotFound("metric_unknown", "There is no such figure. Choose one from a page of figures.")
    is_native = filters.target is None
    by_currency = (Group.CURRENCY,) if is_native and (filters.currency or metric.has_amounts) else ()
    answer = await explained(
        context,
        principal,
        metric,
        on,
        by_currency,
        lens=filters.counting,
        instance_ids=[filters.instance_id] if filters.instance_id else [],
        start=start,
        target=filters.target,
    )
    return page(
        request,
        "explain.html",
        principal=principal,
        answer=answer,
        formula=formula_in_words(answer),
        values=[
            _value(answer, group, group.group.get("currency") or answer.currency)
            for group in answer.values
            if filters.currency in (None, group.group.get("currency"))
        ],
        sources=[_source(source) for source in answer.sources],
        restated=rows_of(
            [row for row in answer.restated if filters.currency in (None, row.currency)],
            {source.instance_id: source.time_zone for source in answer.sources},
        ),
    )


def formula_in_words(answer: ExplainedMetric) -> str:
    """Return the formula with the titles of its numbers in place of their names."""
    titles = {operand.name: operand.title for value in answer.values for operand in value.operands}
    text = answer.formula
    for sign, shown in _SIGNS.items():
        text = text.replace(sign, shown)
    # A longer name may contain a shorter one.
    for name in sorted(titles, key=len, reverse=True):
        text = text.replace(name, titles[name])
    return text


def _value(answer: ExplainedMetric, group: GroupValue, code: str | None) -> Value:
    return Value(
        number=_number(answer.title, answer.unit, group.value, code),
        currency=code,
        reason=reason_text(group.reason) if group.reason else "",
        is_complete=group.complete,
        operands=tuple(
            _number(operand.title, operand.unit, operand.value, code) for operand in group.operands
        ),
    )


def _number(title: str, unit: Unit, value: str | int | None, currency: str | None) -> Number:
    if value is None:
        return Number(title, None, "not known")
    text = value_text(unit, value, currency or "")
    return Number(title, value, f"{text} {currency}" if unit is Unit.MONEY else text)


def _source(source: SourceState) -> Source:
    known_until = "not known" if source.last_on is None else f"until {source.last_on:%-d %B %Y}"
    read = "never" if source.read_at is None else local(source.read_at, source.time_zone)
    return Source(source.instance_name, kind_title(source.kind), known_until, read, source.code is not None)

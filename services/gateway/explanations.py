"""Explanations of a figure for people: how it was computed, from what, and how to ask for it again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from libs.common.contracts.billing import SUBSCRIPTION_KINDS
from libs.common.contracts.lenses import Lens
from libs.common.contracts.money import MICROS, format_micros
from libs.common.figures.answers import Figure
from libs.common.figures.counting import countings, graces_of
from libs.common.figures.coverage import Freshness
from libs.common.figures.explain import ExplainedGroup, Explanation, Omission
from libs.common.figures.groups import Group, Limits
from libs.common.figures.metric import Metric
from libs.common.figures.operands import Listing, Operand, Taken, Unit
from libs.common.figures.periods import Interval
from libs.common.figures.rates import NATIVE, Fx, Target
from libs.common.figures.restatement_list import Restatement
from services.gateway import figures
from services.gateway.context import Context
from services.gateway.principals import Principal
from services.gateway.requests import API_PREFIX

_NAMED: Final = "SELECT set_config('app.organization_id', '{id}', false);\n{statement};\n"

Parameters = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that decides the figure. `words` say what its value does."""

    name: str
    value: str
    words: str


@dataclass(frozen=True, slots=True)
class OperandValue:
    """A number in the formula. `list` is the address of the list that it is computed from."""

    name: str
    title: str
    unit: Unit
    value: str | int | None
    list: str


@dataclass(frozen=True, slots=True)
class GroupValue:
    """The value of one group, and the numbers that it was computed from."""

    group: dict[str, str]
    names: dict[str, str]
    value: str | int | None
    reason: str | None
    complete: bool
    operands: tuple[OperandValue, ...]


@dataclass(frozen=True, slots=True)
class SourceState:
    """How fresh the rows of one kind in one instance are."""

    instance_id: UUID
    instance_name: str
    time_zone: str
    kind: str
    first_on: date | None
    last_on: date | None
    closed_before: date | None
    read_at: datetime | None
    action: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class RateInForce:
    """One unit of `currency` in an instance is `value` units of the currency of the figure, since a day. `by` has told both rates."""

    instance_id: UUID
    instance_name: str
    currency: str
    value: str
    since: date
    by: str


@dataclass(frozen=True, slots=True)
class Call:
    """The same question for programs: as an address, as a line for a shell, and as SQL."""

    address: str
    curl: str
    sql: str


@dataclass(frozen=True, slots=True)
class ExplainedMetric:
    """A figure on a day with all that it is computed from. For a metric of periods, `start` is the first day of the period.

    `restated` are the newest changes of its days after they were closed, 20 at most.
    `currency` is that into which amounts are converted, None if they stay in their own. `rates` are those of the day; the amounts of other
    days are converted at theirs, unless rates are constant.
    """

    metric: str
    title: str
    unit: Unit
    version: int
    words: str
    formula: str
    start: date
    on: date
    as_of: datetime | None
    settings: tuple[Setting, ...]
    values: tuple[GroupValue, ...]
    omitted: tuple[Omission, ...]
    restated: tuple[Restatement, ...]
    notes: tuple[str, ...]
    sources: tuple[SourceState, ...]
    question: Call
    currency: str | None = None
    rates: tuple[RateInForce, ...] = ()


async def explained(
    context: Context,
    principal: Principal,
    metric: Metric,
    on: date | None,
    groups: Sequence[Group],
    *,
    lens: Lens,
    instance_ids: Sequence[UUID],
    start: date | None = None,
    limits: Limits = (),
    target: Target | None = None,
) -> ExplainedMetric:
    """Return a metric on a day, by default the newest known day, with everything that it is computed from.

    A metric of periods is that of the days from `start`, by default the first of the month. Raise NotFound for an unknown instance, Invalid
    for an answer that is too large or a `start` that does not fit.
    """
    explanation = await figures.explanation(
        context,
        principal,
        metric,
        start,
        on,
        groups,
        limits,
        lens=lens,
        instance_ids=instance_ids,
        target=target,
    )
    lens = explanation.lens
    shared = [
        *_organization(principal),
        ("lens", lens.value),
        *(("filter[instance]", str(instance_id)) for instance_id in instance_ids),
        *((f"filter[{group}]", value) for group, values in limits for value in values),
        *_conversion(explanation.figure),
    ]
    asked = [*(("group_by", group.value) for group in groups), *shared]
    return ExplainedMetric(
        metric=metric.slug,
        title=metric.title,
        unit=metric.unit,
        version=metric.version,
        words=explanation.metric.words,
        formula=explanation.metric.written,
        start=explanation.start,
        on=explanation.on,
        as_of=explanation.figure.as_of,
        settings=_settings(lens, explanation),
        values=tuple(_value(group, explanation, shared) for group in explanation.groups),
        omitted=explanation.omitted,
        restated=explanation.restated,
        notes=explanation.figure.notes,
        sources=_sources(explanation),
        question=_call(context, principal, explanation, asked),
        currency=None if explanation.figure.fx is None else explanation.figure.currency,
        rates=_rates(explanation),
    )


def _organization(principal: Principal) -> Parameters:
    """Return the organization for addresses; without it, a session of several would be asked about the one used last."""
    return [("organization", principal.organization.slug)] if len(principal.organizations) > 1 else []


def _conversion(figure: Figure) -> Parameters:
    """Return the parameters by which amounts are converted as in a figure."""
    return [] if figure.fx is None else [("currency", figure.currency), ("fx", figure.fx.value)]


def _rates(explanation: Explanation) -> tuple[RateInForce, ...]:
    """Return the rates of the instances of a figure."""
    names = {instance.instance_id: instance.name for instance in explanation.scope.instances}
    return tuple(
        RateInForce(
            rate.instance_id,
            names[rate.instance_id],
            rate.currency,
            format_micros(round(rate.factor * MICROS)),
            rate.since,
            names.get(rate.by, "another instance"),
        )
        for rate in explanation.rates
        if rate.instance_id in names
    )


def _settings(lens: Lens, explanation: Explanation) -> tuple[Setting, ...]:
    instances = explanation.scope.instances
    return (
        Setting("lens", lens.value, f"A subscription counts when it is {countings(instances)[lens]}."),
        *(_graces(instances) if lens is Lens.CONTRACT else ()),
        *_left_out(instances),
        *_currency_settings(explanation.figure),
    )


def _graces(instances: Sequence[Freshness]) -> Iterator[Setting]:
    """Yield a setting for each different grace. If there are several, each names the rows that have it."""
    graces = graces_of(instances)
    for days in graces:
        whose = "Unpaid subscriptions count"
        if len(graces) > 1:
            whose = f"Unpaid {', '.join(_with_grace(instances, days))} count"
        yield Setting("grace_days", str(days), f"{whose} up to {days} days after their due date.")


def _with_grace(instances: Sequence[Freshness], days: int) -> Iterator[str]:
    for instance in instances:
        for kind in SUBSCRIPTION_KINDS:
            state = instance.kinds.get(kind)
            if state is not None and state.grace_days == days:
                yield f"{kind}s of {instance.name}"


def _left_out(instances: Sequence[Freshness]) -> Iterator[Setting]:
    """Yield a setting for each instance whose domains are in no figure."""
    for instance in instances:
        if not instance.domains_count:
            yield Setting("domains_count", "false", f"Domains of {instance.name} are in no figure.")


def _currency_settings(figure: Figure) -> tuple[Setting, ...]:
    if figure.fx is None:
        return (
            Setting(
                "currency", NATIVE, "Amounts stay in the currency of the customer. Nothing is converted."
            ),
        )
    words = f"Amounts are converted into {figure.currency} by the rates that the syncs have seen in WHMCS. Days before have the first rate."
    days = {
        Fx.DAILY: "Balances are converted at the rate of the last day, movements at the rate of their own day.",
        Fx.CONSTANT: "All days are converted at the newest rates.",
    }
    return (Setting("currency", figure.currency, words), Setting("fx", figure.fx.value, days[figure.fx]))


def _value(explained: ExplainedGroup, explanation: Explanation, shared: Parameters) -> GroupValue:
    # A group is narrower than the values to which the question was limited.
    of_group = [(f"filter[{name}]", value) for name, value in explained.group.items()]
    narrowed = {name for name, _ in of_group}
    inherited = [pair for pair in shared if pair[0] not in narrowed]
    parameters = [*inherited, *of_group]
    return GroupValue(
        group=dict(explained.group),
        names=dict(explained.names),
        value=explained.point.value,
        reason=explained.point.reason,
        complete=explained.point.complete,
        operands=tuple(
            OperandValue(
                operand.name,
                operand.title,
                operand.unit,
                value,
                _list_behind(operand, explanation, parameters),
            )
            for operand, value in explained.operands.items()
        ),
    )


def _list_behind(operand: Operand, explanation: Explanation, parameters: Parameters) -> str:
    """Return the address of the list behind an operand."""
    left_out: tuple[str, ...] = ()
    if operand.listing in (Listing.EXPECTED_ENDS, Listing.GAPS):
        # They show amounts as they are in WHMCS.
        left_out = ("currency", "fx")
    if operand.listing is Listing.GAPS:
        # It compares two lenses.
        left_out = (*left_out, "lens")
    kept = [pair for pair in parameters if pair[0] not in left_out]
    return f"{API_PREFIX}/{operand.listing}?{urlencode([*_days_of(operand, explanation), *kept])}"


def _days_of(operand: Operand, explanation: Explanation) -> Parameters:
    """Return which days of which rows the list behind an operand shows."""
    match operand.taken:
        case Taken.START:
            return [("on", str(explanation.before)), *operand.shown]
        case Taken.END:
            days = [("on", str(explanation.on))] if operand.listing.is_of_day else []
            return [*days, *operand.shown]
        case Taken.WITHIN:
            days = [("start", str(explanation.start)), ("end", str(explanation.on))]
            return [("on", str(explanation.on))] if operand.listing.is_of_day else [*days, *operand.shown]


def _sources(explanation: Explanation) -> tuple[SourceState, ...]:
    return tuple(
        SourceState(
            instance_id=instance.instance_id,
            instance_name=instance.name,
            time_zone=instance.time_zone,
            kind=state.kind,
            first_on=state.days.first_on if state.days else None,
            last_on=state.days.last_on if state.days else None,
            closed_before=state.days.closed_before if state.days else None,
            read_at=state.read_at,
            action=state.action or None,
            code=state.code,
        )
        for instance in explanation.scope.instances
        for _, state in sorted(instance.kinds.items())
    )


def _call(context: Context, principal: Principal, explanation: Explanation, asked: Parameters) -> Call:
    days = [("start", str(explanation.start)), ("end", str(explanation.on))]
    if explanation.start < explanation.on:
        days.append(("interval", Interval.RANGE.value))
    address = f"{API_PREFIX}/metrics/{explanation.metric.slug}?{urlencode([*days, *asked])}"
    return Call(
        address=address,
        curl=f'curl --header "Authorization: Bearer $MRRLYTICS_TOKEN" "{context.settings.public_url}{address}"',
        sql=_NAMED.format(id=principal.organization_id, statement=explanation.sql),
    )

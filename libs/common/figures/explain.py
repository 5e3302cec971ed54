"""Explain a figure on a day: the numbers in its formula, what it omits and why, and the same as SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final, NamedTuple

from libs.common.contracts.issues import IssueReason
from libs.common.contracts.lenses import RECORD_LENSES, Lens
from libs.common.figures.answers import Figure, Point, figures_of, levels_of, written_value
from libs.common.figures.errors import QuestionError
from libs.common.figures.groups import Group, Limits
from libs.common.figures.metric import Metric, Reason
from libs.common.figures.operands import Operand
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question, Scope, day_before
from libs.common.figures.rates import Target, UsedRate
from libs.common.figures.readable import readable_statement
from libs.common.figures.reading import Reading, read
from libs.common.figures.relations import ISSUES
from libs.common.figures.restatement_list import Restatement, RestatementSelection, read_restatements

MOST_GROUPS: Final = 500
_MOST_RESTATEMENTS: Final = 20


@dataclass(frozen=True, slots=True)
class ExplainedGroup:
    """The point of one group, and the operands from which it was computed; an operand is None if it is not known."""

    group: Mapping[str, str]
    names: Mapping[str, str]
    point: Point
    operands: Mapping[Operand, str | int | None]


@dataclass(frozen=True, slots=True)
class Omission:
    """A number of subscriptions that are missing in some or all totals, with the reason, also in words."""

    kind: str
    reason: str
    count: int
    words: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A figure of the days [start, on] with the numbers behind it; one day, unless the metric is one of periods.

    `lens` is that of the metric, or else that of the question. `sql` is one statement that gives the same values. `restated` are the newest
    restatements of its days, 20 at most. `rates` are those of the day by which amounts are converted.
    """

    metric: Metric
    lens: Lens
    start: date
    on: date
    scope: Scope
    figure: Figure
    groups: tuple[ExplainedGroup, ...]
    omitted: tuple[Omission, ...]
    sql: str
    restated: tuple[Restatement, ...] = ()
    rates: tuple[UsedRate, ...] = ()

    @property
    def before(self) -> date:
        """Return the day before the period, at whose end its start is measured."""
        return day_before(self.start)


class _Issue(NamedTuple):
    """Why a subscription is missing in totals, and in totals of which lenses."""

    lenses: frozenset[Lens]
    words: str


# By `paid`, lines decide, so no state of a record leaves an amount out.
_ALL: Final = frozenset(RECORD_LENSES)
# A newer release of metrics may list a reason that is not here, while the services are upgraded one after another.
_UNKNOWN_ISSUE: Final = _Issue(_ALL, "A newer release of MRRlytics knows this reason. Finish the upgrade.")
ISSUE_WORDS: Final[Mapping[str, _Issue]] = {
    IssueReason.AMOUNT_NEGATIVE: _Issue(
        _ALL, "The recurring amount is below 0: a discount. It lowers MRR and is no subscription."
    ),
    IssueReason.AMOUNT_NOT_OFFERED: _Issue(
        _ALL, "The recurring amount is -1.00: WHMCS does not offer this cycle. Set the amount in WHMCS."
    ),
    IssueReason.CURRENCY_UNKNOWN: _Issue(
        _ALL,
        "The currency of the customer is not known yet. The next sync asks for it: allow GetInvoices and GetClientsDetails.",
    ),
    IssueReason.CYCLE_UNKNOWN: _Issue(
        _ALL, "MRRlytics does not know the billing cycle. Correct it in WHMCS."
    ),
    IssueReason.DUE_DATE_MISSING: _Issue(
        frozenset({Lens.CONTRACT}), "There is no next due date. Set it in WHMCS."
    ),
    IssueReason.STATUS_UNKNOWN: _Issue(
        _ALL, "WHMCS does not document this status. Give the subscription a status of WHMCS."
    ),
    IssueReason.TAX_RATE_UNKNOWN: _Issue(
        _ALL,
        "Prices include tax, and no invoice of the customer shows its rate yet. The amount counts with tax.",
    ),
    IssueReason.UNREADABLE: _Issue(
        _ALL,
        "WHMCS sends an owner, amount, cycle or status that cannot be read. The subscription counts as it was last read, if ever. "
        "Correct it in WHMCS: the page of the instance lists it.",
    ),
}


def words_of_issue(reason: str) -> str:
    """Return why a subscription is missing in totals, and what to do."""
    return ISSUE_WORDS.get(reason, _UNKNOWN_ISSUE).words


async def read_explained(
    connection: Any,
    metric: Metric,
    start: date | None,
    on: date,
    group_by: Sequence[Group],
    limits: Limits,
    scope: Scope,
    target: Target | None = None,
) -> Reading:
    """Read a metric on a day, in the caller's transaction of one organization. A metric of periods is read from `start` to that day.

    Without `start`, a period begins with the month. Raise QuestionError for more than MOST_GROUPS groups, and for a `start` that lies
    after the day or that the metric has not.
    """
    question = Question(
        metric, _start(metric, start, on), on, Interval.RANGE, tuple(group_by), limits, target
    )
    reading = await read(connection, [question], scope)
    groups = len(reading.parts[0].changes)
    if groups > MOST_GROUPS:
        raise QuestionError(
            "answer_too_large",
            f"An explanation has at most {MOST_GROUPS:,} groups. This would be {groups:,}. Choose fewer groups, or one instance.",
            "group_by",
        )
    return reading


def _start(metric: Metric, start: date | None, on: date) -> date:
    if metric.is_of_period:
        return on.replace(day=1) if start is None else start
    if start is not None:
        raise QuestionError(
            "range_invalid", f"{metric.title} is a value of one day. Leave out `start`.", "start"
        )
    return on


async def read_omissions(connection: Any, scope: Scope, lens: Lens) -> list[Omission]:
    """Return by kind and reason how many subscriptions figures by a lens omit."""
    rows = await connection.fetch(ISSUES, [instance.instance_id for instance in scope.instances])
    omissions = []
    for row in rows:
        issue = ISSUE_WORDS.get(row["reason"], _UNKNOWN_ISSUE)
        if lens in issue.lenses:
            omissions.append(Omission(row["kind"], row["reason"], row["number"], issue.words))
    return omissions


async def read_restated(connection: Any, reading: Reading, on: date) -> list[Restatement]:
    """Return the newest restatements of the days that the figure of `read_explained` uses."""
    question = reading.parts[0].question
    # A period begins with the end of the day before it.
    first = day_before(question.opens_on) if question.metric.is_of_period else on
    scope = replace(reading.scope, lens=question.lens)
    return await read_restatements(
        connection, scope, RestatementSelection(first, on), None, _MOST_RESTATEMENTS
    )


def explain(
    reading: Reading, on: date, omitted: Sequence[Omission], restated: Sequence[Restatement]
) -> Explanation:
    """Return the explanation of the figure that `read_explained` has read for a day."""
    [figure], [part] = figures_of(reading, with_breakdown=False), reading.parts
    start, conversion = part.question.opens_on, part.question.conversion
    return Explanation(
        metric=part.question.metric,
        lens=part.question.lens,
        start=start,
        on=on,
        scope=reading.scope,
        figure=figure,
        groups=_groups(reading, figure),
        omitted=tuple(omitted),
        sql=readable_statement(part.question, start, on, reading.scope),
        restated=tuple(restated),
        rates=tuple(conversion.used(on)) if conversion else (),
    )


def _groups(reading: Reading, figure: Figure) -> tuple[ExplainedGroup, ...]:
    [part] = reading.parts
    levels = levels_of(part)
    return tuple(
        ExplainedGroup(
            series.group,
            series.names,
            point,
            {
                operand: written_value(of_group[operand][0], operand.unit) if _is_known(point) else None
                for operand in part.question.metric.operands
            },
        )
        for series in figure.series
        for of_group in [levels.get(tuple(series.group.values()), {})]
        for point in series.points
    )


def _is_known(point: Point) -> bool:
    """Return whether the operands of a point are known. A formula may have no value for operands that are known."""
    return point.value is not None or point.reason in set(Reason)

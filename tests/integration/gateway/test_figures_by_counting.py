"""Figures equal counting segment by segment, which is their definition and slow."""

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import dropwhile
from itertools import product as combinations
from uuid import UUID

import pytest

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import METRICS
from libs.common.figures.groups import Group, limits_of
from libs.common.figures.metric import Metric
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from services.gateway.figures import figures
from tests.integration.gateway.books import (
    DAY,
    FIRST,
    KINDS,
    TODAY,
    Segment,
    Site,
    add_segments,
    add_site,
    ask,
    invented,
    reader,
)
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.counting import (
    Counted,
    counted,
    key_of,
    keys_of,
    known_over,
    value,
)

# Those of movements are counted in test_movement_figures. Those of expected ends are known on the newest day alone. Those with a lens of
# their own are read like MRR, or are sums of stored rows.
OF_SEGMENTS: Sequence[Metric] = [
    metric
    for metric in METRICS
    if not metric.is_of_newest_day
    and metric.lens is None
    and not any(operand.relation.is_of_movements for operand in metric.operands)
]
GROUPS: tuple[tuple[Group, ...], ...] = (
    (),
    *((group,) for group in (Group.KIND, Group.PRODUCT, Group.CURRENCY, Group.INSTANCE)),
    (Group.COUNTRY, Group.PAYMENT_METHOD),
    (Group.PRODUCT_GROUP,),
    (Group.CUSTOMER_GROUP, Group.PROMOTION),
    (Group.KIND, Group.CURRENCY),
    (Group.PRODUCT, Group.CYCLE),
    (Group.INSTANCE, Group.KIND, Group.CYCLE),
)


@pytest.mark.parametrize("seed", range(3))
async def test_every_figure_equals_counting_segment_by_segment(gateway: Gateway, seed: int) -> None:
    ours, theirs = await gateway.organization("Ours"), await gateway.organization("Theirs")
    sites = [
        await add_site(gateway, ours, first_on=FIRST - 20 * DAY),
        await add_site(gateway, ours, last_on=TODAY - 9 * DAY, as_of=datetime(2026, 2, 20, 6, tzinfo=UTC)),
        await add_site(
            gateway,
            ours,
            first_on=FIRST + 15 * DAY,
            missing=("addon", "domain"),
            read_at=datetime(2026, 2, 10, 6, tzinfo=UTC),
        ),
        await add_site(gateway, ours, missing=("addon",), began_on={"domain": FIRST + 9 * DAY}),
    ]
    dice = random.Random(seed)
    segments = invented(dice, sites)
    await add_segments(gateway, ours, segments)
    await add_segments(gateway, theirs, invented(dice, [await add_site(gateway, theirs)]))
    questions = [
        Question(metric, FIRST - 5 * DAY, TODAY, interval, groups)
        for metric, interval, groups in combinations(OF_SEGMENTS, Interval, GROUPS)
    ]

    for lens, chosen in ((Lens.CONTRACT, []), (Lens.ACTIVE, []), (Lens.STATUS, [sites[1].id, sites[2].id])):
        answers = await figures(gateway.context, reader(ours), questions, lens=lens, instance_ids=chosen)

        included = {site.id: site for site in sites if not chosen or site.id in chosen}
        seen = [segment for segment in segments if segment.lens == lens and segment.instance_id in included]
        for groups in GROUPS:
            same = [pair for pair in zip(questions, answers, strict=True) if pair[0].group_by == groups]
            compare([pair for pair in same if not pair[0].metric.has_amounts], groups, seen, included)
            money = tuple(dict.fromkeys((*groups, Group.CURRENCY)))
            compare([pair for pair in same if pair[0].metric.has_amounts], money, seen, included)


def compare(
    asked: Sequence[tuple[Question, Figure]],
    groups: Sequence[Group],
    segments: Sequence[Segment],
    sites: dict[UUID, Site],
) -> None:
    """Every point of every series, of all slugs and intervals with the same groups."""
    [start] = {question.start for question, _ in asked}
    [end] = {question.end for question, _ in asked}
    days = [start + number * DAY for number in range((end - start).days + 1)]
    live = {on: counted(segments, sites, groups, on) for on in [start - DAY, *days]}
    ever = {key_of(segment, groups) for segment in segments} | ({()} if not groups else set())
    for question, answer in asked:
        expected = [on for on in days if on == end or is_end(on, question.interval)]
        shown = {
            tuple(series.group[group] for group in groups if group in series.group): series
            for series in answer.series
        }
        assert {key for on in expected for key in live[on]} <= shown.keys()
        for key, series in shown.items():
            on_days = written(question, series.group, sites, expected)
            assert [point.on for point in series.points] == on_days
            starts = {on: since for since, on in since_days(question, expected)}
            for point in series.points:
                since = starts[point.on]
                is_known, reason, complete = known_over(series.group, sites, since, point.on)
                assert point.complete == complete
                if is_known:
                    assert key in ever
                    at_start, at_end = (live[on].get(key, Counted()) for on in (since, point.on))
                    assert point.value == value(question.metric.slug, at_end, at_start)
                else:
                    assert (point.value, point.reason) == (None, reason)


def written(
    question: Question, group: dict[str, str], sites: dict[UUID, Site], expected: Sequence[date]
) -> list[date]:
    """The days that a series has: all, but in a split answer none before its first sync."""
    if not question.group_by:
        return list(expected)
    first_on = min(days[0] for site in sites.values() for kind in KINDS if (days := site.days_of(kind)))
    begun = [(since, on) for since, on in since_days(question, expected) if on >= first_on]
    shown = dropwhile(lambda days: known_over(group, sites, *days)[1] == "before_first_sync", begun)
    return [on for _, on in shown]


def since_days(question: Question, expected: Sequence[date]) -> list[tuple[date, date]]:
    """The days of the answer, each with the day on which its figure starts."""
    befores = [question.start - DAY, *expected] if question.metric.is_of_period else expected
    return list(zip(befores, expected, strict=False))


def is_end(on: date, interval: Interval) -> bool:
    match interval:
        case Interval.DAY:
            return True
        case Interval.WEEK:
            return on.isoweekday() == 7
        case Interval.MONTH:
            return (on + DAY).day == 1
        case Interval.QUARTER:
            return (on + DAY).day == 1 and on.month % 3 == 0
        case Interval.YEAR:
            return (on.month, on.day) == (12, 31)
        case Interval.RANGE:
            return False


LIMITS: Sequence[dict[Group, list[str]]] = (
    {Group.KIND: ["service", "domain"]},
    {Group.COUNTRY: ["PT", "unknown"], Group.CYCLE: ["monthly"]},
    {Group.PAYMENT_METHOD: ["paypal"], Group.CURRENCY: ["EUR"]},
)


async def test_limited_figures_equal_counting_what_is_within(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    sites = [await add_site(gateway, ours), await add_site(gateway, ours, missing=("addon",))]
    segments = [segment for segment in invented(random.Random(11), sites) if segment.lens == Lens.CONTRACT]
    await add_segments(gateway, ours, segments)
    [owner, other] = [str(site.id) for site in sites]
    of_instances: list[dict[Group, list[str]]] = [
        {Group.PRODUCT: [f"{owner}:service:1", "domain:2"]},
        {Group.CUSTOMER_GROUP: [f"{other}:7"]},
        {Group.PROMOTION: [f"{owner}:1", "unknown"], Group.PRODUCT_GROUP: [f"{owner}:1", f"{other}:2"]},
    ]

    for values in (*LIMITS, *of_instances):
        limits = limits_of(values)
        within = [
            segment
            for segment in segments
            if all(keys_of(segment)[group] in chosen for group, chosen in limits)
        ]
        questions = [
            Question(metric, FIRST + DAY, TODAY, Interval.WEEK, groups, limits)
            for metric, groups in combinations(OF_SEGMENTS, ((Group.CURRENCY,), (Group.KIND, Group.CURRENCY)))
        ]
        answers = await figures(gateway.context, reader(ours), questions, lens=Lens.CONTRACT, instance_ids=())

        assert within
        for question, answer in zip(questions, answers, strict=True):
            for series in answer.series:
                key = tuple(series.group.get(group, "") for group in question.group_by)
                for since, point in zip(
                    [FIRST, *(point.on for point in series.points)], series.points, strict=False
                ):
                    start, end = (
                        counted(within, {site.id: site for site in sites}, question.group_by, on).get(
                            key, Counted()
                        )
                        for on in (since, point.on)
                    )
                    if point.value is not None:
                        assert point.value == value(question.metric.slug, end, start), (values, point)


async def test_questions_asked_together_are_answered_as_if_alone(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    await add_segments(gateway, ours, invented(random.Random(7), [site]))
    questions = [
        Question(metric, FIRST, TODAY, Interval.WEEK, groups)
        for metric, groups in combinations(METRICS, GROUPS)
    ]
    principal = reader(ours)

    together = await figures(gateway.context, principal, questions, lens=Lens.CONTRACT, instance_ids=())

    alone = [
        await ask(
            gateway, ours, question.metric.slug, *question.group_by, start=FIRST, interval=Interval.WEEK
        )
        for question in questions
    ]
    assert together == alone

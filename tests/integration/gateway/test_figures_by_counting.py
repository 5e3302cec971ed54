"""Figures equal counting segment by segment, which is their definition and slow."""

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from itertools import dropwhile
from itertools import product as combinations
from statistics import median
from typing import NamedTuple
from uuid import UUID

import pytest

from libs.common.contracts.lenses import Lens
from libs.common.contracts.money import divide_half_even, format_micros
from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import METRICS
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from libs.common.figures.relations import Group
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


def key_of(segment: Segment, groups: Sequence[Group]) -> tuple[str, ...]:
    product = segment.product if segment.kind == "domain" else f"{segment.instance_id}:{segment.product}"
    values = {
        Group.KIND: segment.kind,
        Group.PRODUCT: product,
        Group.CYCLE: segment.cycle,
        Group.CURRENCY: segment.currency,
        Group.INSTANCE: str(segment.instance_id),
    }
    return tuple(values[group] for group in groups)


def is_live(segment: Segment, site: Site, on: date) -> bool:
    days = site.days_of(segment.kind)
    if days is None or on < days[0]:
        return False
    shown = min(on, days[1])
    return segment.from_on <= shown and (segment.to_on is None or shown < segment.to_on)


# The micros of each customer.
Amounts = dict[tuple[UUID, int], int]


class Counted(NamedTuple):
    """What is live in a group."""

    micros: int = 0
    subscriptions: int = 0
    customers: Amounts = {}  # noqa: RUF012  nothing is ever added


Live = dict[tuple[str, ...], Counted]


def counted(segments: Sequence[Segment], sites: dict[UUID, Site], groups: Sequence[Group], on: date) -> Live:
    """What is live on a day."""
    live: dict[tuple[str, ...], list[Segment]] = defaultdict(list)
    for segment in segments:
        if is_live(segment, sites[segment.instance_id], on):
            live[key_of(segment, groups)].append(segment)
    return {
        key: Counted(
            sum(segment.mrr_micros for segment in of_group),
            len(of_group),
            by_customer(of_group),
        )
        for key, of_group in live.items()
    }


def by_customer(segments: Sequence[Segment]) -> Amounts:
    amounts: Amounts = defaultdict(int)
    for segment in segments:
        amounts[segment.instance_id, segment.customer_id] += segment.mrr_micros
    return dict(amounts)


def value(slug: str, live: Counted, before: Counted) -> str | int | None:
    """The value of a metric from what is live, and what was live on the day before the period."""
    customers = live.customers
    paid = {customer: (amount, customers.get(customer, 0)) for customer, amount in before.customers.items()}
    match slug:
        case "mrr":
            return format_micros(live.micros)
        case "arr":
            return format_micros(12 * live.micros)
        case "subscriptions":
            return live.subscriptions
        case "median_mrr":
            return format_micros(round(median(map(Fraction, customers.values())))) if customers else None
        case "customers":
            return len(customers)
        case "arpa":
            return format_micros(divide_half_even(live.micros, len(customers))) if customers else None
        case "gross_revenue_retention":
            return ratio(sum(min(start, end) for start, end in paid.values()), before.micros)
        case "net_revenue_retention":
            return ratio(sum(end for _, end in paid.values()), before.micros)
        case "customer_churn_rate":
            return ratio(len(before.customers.keys() - customers.keys()), len(before.customers))
    raise AssertionError(slug)


def ratio(part: int, whole: int) -> str | None:
    return format_micros(divide_half_even(part * 1_000_000, whole)) if whole else None


GROUPS: tuple[tuple[Group, ...], ...] = (
    (),
    *((group,) for group in Group),
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
        for metric, interval, groups in combinations(METRICS, Interval, GROUPS)
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


def known_over(
    group: dict[str, str], sites: dict[UUID, Site], since: date, on: date
) -> tuple[bool, str | None, bool]:
    """Whether a figure is known on both days, why not, and whether it is complete."""
    before, last = knowledge_of(group, sites, since), knowledge_of(group, sites, on)
    return (True, None, before[2] and last[2]) if before[0] else before


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


def knowledge_of(group: dict[str, str], sites: dict[UUID, Site], on: date) -> tuple[bool, str | None, bool]:
    """Whether a figure is known on a day, why not, and whether it is complete."""
    product = group.get("product", "")
    days = [
        site.days_of(kind)
        for site in sites.values()
        for kind in KINDS
        if group.get("kind", kind) == kind
        and group.get("instance", str(site.id)) == str(site.id)
        and (not product or f"{kind}:" in product)
        and (not product or kind == "domain" or str(site.id) in product)
    ]
    begun = [span for span in days if span is not None and span[0] <= on]
    if not begun:
        return False, "before_first_sync" if any(days) else "not_permitted", False
    return True, None, len(begun) == len(days) and all(on < span[2] for span in begun)


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

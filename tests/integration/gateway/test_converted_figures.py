"""Converted figures are those of a slow count that converts one segment after the other."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest

from libs.common.contracts.money import format_micros
from libs.common.database import raw, transaction
from libs.common.figures.groups import Group
from libs.common.figures.periods import Interval
from libs.common.figures.rates import Fx, Target
from tests.integration.gateway.books import (
    DAY,
    FIRST,
    TODAY,
    Segment,
    Site,
    add_rates,
    add_segments,
    add_site,
    ask,
    invented,
    points_of,
)
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.counting import is_live, key_of

START = FIRST + DAY
# EUR is the default. Days before the first rate use that one.
RATES = {FIRST + 10 * DAY: "161.30000", FIRST + 21 * DAY: "149.87000", FIRST + 40 * DAY: "170.00001"}
IN_EUR = Target("EUR")
CONSTANT = Target("EUR", Fx.CONSTANT)


def factor_of(code: str, on: date, target: Target = IN_EUR) -> Fraction | None:
    """What an amount is multiplied by, as people would look it up."""
    if code == "EUR":
        return Fraction(1)
    if code != "JPY":
        return None
    day = TODAY if target.fx is Fx.CONSTANT else on
    rate = [rate for since, rate in RATES.items() if since <= day]
    return 1 / Fraction(rate[-1] if rate else next(iter(RATES.values())))


def converted(micros: int, code: str, on: date, target: Target = IN_EUR) -> int:
    factor = factor_of(code, on, target)
    return 0 if factor is None else round(micros * factor)


Book = tuple[UUID, list[Site], list[Segment]]


@pytest.fixture
async def book(gateway: Gateway) -> Book:
    """Two instances whose customers pay in EUR, in JPY, and in a currency without a rate."""
    return await stored_book(gateway, has_discounts=False)


@pytest.fixture
async def discounted(gateway: Gateway) -> Book:
    """The same with discounts."""
    return await stored_book(gateway, has_discounts=True)


async def stored_book(gateway: Gateway, *, has_discounts: bool) -> Book:
    ours = await gateway.organization("Ours")
    sites = [
        await add_site(gateway, ours, "One"),
        await add_site(gateway, ours, "Two", began_on={"domain": FIRST + 20 * DAY}),
    ]
    for on, rate in RATES.items():
        await add_rates(gateway, sites[0], on, {"EUR": "1.00000", "JPY": rate})
    dice = random.Random(11)
    segments = [
        replace(
            segment,
            currency="XXX" if segment.id == 11 else segment.currency,
            mrr_micros=segment.mrr_micros if has_discounts else abs(segment.mrr_micros),
        )
        for segment in invented(dice, sites)
    ]
    await add_segments(gateway, ours, segments)
    return ours, sites, segments


def amounts_on(
    segments: Sequence[Segment], sites: Sequence[Site], groups: Sequence[Group], on: date, target: Target
) -> dict[tuple[str, ...], Counter[tuple[UUID, int]]]:
    """What each customer pays in EUR on a day, by group."""
    by_id = {site.id: site for site in sites}
    amounts: dict[tuple[str, ...], Counter[tuple[UUID, int]]] = defaultdict(Counter)
    for segment in segments:
        if segment.lens == "contract" and is_live(segment, by_id[segment.instance_id], on):
            paid = converted(segment.mrr_micros, segment.currency, on, target)
            amounts[key_of(segment, groups)][segment.instance_id, segment.customer_id] += paid
    return amounts


@pytest.mark.parametrize("target", [IN_EUR, CONSTANT], ids=lambda target: target.fx)
@pytest.mark.parametrize("groups", [(), (Group.KIND,), (Group.PRODUCT, Group.COUNTRY), (Group.CURRENCY,)])
async def test_each_amount_is_converted_at_the_rate_of_the_day(
    gateway: Gateway,
    discounted: Book,
    target: Target,
    groups: tuple[Group, ...],
) -> None:
    ours, sites, segments = discounted

    answer = await ask(gateway, ours, "mrr", *groups, start=FIRST, end=TODAY, target=target)

    assert (answer.currency, answer.fx) == ("EUR", target.fx)
    checked = 0
    for series in answer.series:
        key = tuple(series.group[group] for group in groups)
        for point in series.points:
            if point.value is not None:
                amounts = amounts_on(segments, sites, groups, point.on, target)[key]
                assert point.value == format_micros(sum(amounts.values())), (key, point.on)
                checked += 1
    assert checked > 40


@pytest.mark.parametrize("target", [IN_EUR, CONSTANT], ids=lambda target: target.fx)
async def test_parts_add_up_to_the_converted_total(
    gateway: Gateway, discounted: Book, target: Target
) -> None:
    ours, _, _ = discounted
    asked = {"start": FIRST, "end": TODAY, "interval": Interval.WEEK, "target": target}

    whole = await ask(gateway, ours, "mrr", **asked)
    for group in Group:
        parts = await ask(gateway, ours, "mrr", group, **asked)
        sums: dict[date, Decimal] = defaultdict(Decimal)
        for series in parts.series:
            for point in series.points:
                sums[point.on] += Decimal(point.value or 0)

        assert sums == {point.on: Decimal(point.value or 0) for point in points_of(whole)}, group


def median_of(amounts: Counter[tuple[UUID, int]]) -> str | None:
    values = sorted(value for value in amounts.values() if value)
    if not values:
        return None
    return format_micros(round(Fraction(values[(len(values) - 1) // 2] + values[len(values) // 2], 2)))


async def test_median_is_that_of_converted_customers(gateway: Gateway, book: Book) -> None:
    ours, sites, segments = book

    answer = await ask(gateway, ours, "median_mrr", start=FIRST, end=TODAY, target=IN_EUR)

    for point in points_of(answer):
        amounts = amounts_on(segments, sites, (), point.on, IN_EUR)[()]
        assert point.value == median_of(amounts), point.on


@pytest.mark.parametrize("target", [IN_EUR, CONSTANT], ids=lambda target: target.fx)
@pytest.mark.parametrize("interval", [Interval.WEEK, Interval.MONTH])
async def test_retention_compares_converted_customers(
    gateway: Gateway, book: Book, interval: Interval, target: Target
) -> None:
    """A customer who moves to another currency still pays."""
    ours, sites, segments = book
    asked = {"start": START, "end": TODAY, "interval": interval, "target": target}

    gross = points_of(await ask(gateway, ours, "gross_revenue_retention", **asked))
    net = points_of(await ask(gateway, ours, "net_revenue_retention", **asked))

    before, checked = FIRST, 0
    for point, other in zip(gross, net, strict=True):
        first = amounts_on(segments, sites, (), before, target)[()]
        last = amounts_on(segments, sites, (), point.on, target)[()]
        whole = sum(first.values())
        kept = sum(min(amount, last[customer]) for customer, amount in first.items())
        stayed = sum(last[customer] for customer, amount in first.items() if amount)
        if whole:
            assert point.value == format_micros(round(Fraction(kept, whole) * 1_000_000))
            assert other.value == format_micros(round(Fraction(stayed, whole) * 1_000_000))
            checked += 1
        before = point.on
    assert checked


async def bridge_of(gateway: Gateway, ours: UUID, **asked: Any) -> dict[str, list[Decimal]]:
    answer = await ask(gateway, ours, "mrr_bridge", **asked)
    return {
        series.group["movement"]: [Decimal(point.value or 0) for point in series.points]
        for series in answer.series
    }


Movements = Sequence[Any]


async def movements_of(gateway: Gateway, ours: UUID) -> Movements:
    async with transaction(gateway.context.engine, ours) as connection:
        rows: Movements = await (await raw(connection)).fetch(
            "SELECT * FROM metrics_read.movements WHERE lens = 'contract'"
        )
        return rows


def days_between(first: date, last: date) -> Iterator[date]:
    while first < last:
        first += DAY
        yield first


async def test_fx_is_the_balance_times_the_change_of_the_rate(gateway: Gateway, book: Book) -> None:
    """The part fx is what remains; this sums it up day by day from the native balances of the day before."""
    ours, sites, segments = book
    by_id = {site.id: site for site in sites}
    asked = {"start": START, "end": TODAY, "interval": Interval.WEEK}

    bridge = await bridge_of(gateway, ours, **asked, target=IN_EUR)
    points = [point.on for point in points_of(await ask(gateway, ours, "mrr", **asked, target=IN_EUR))]

    movements = [row for row in await movements_of(gateway, ours) if row["on"] > known_from(by_id, row)]
    before = FIRST
    for number, last in enumerate(points):
        fx = sum(
            segment.mrr_micros * change_of_factor(segment.currency, on)
            for segment in segments
            for on in days_between(before, last)
            if segment.lens == "contract"
            and is_live(segment, by_id[segment.instance_id], on - DAY)
            # MRR that is read for the first time enters at the rate of the end.
            and known_from(by_id, {"instance_id": segment.instance_id, "kind": segment.kind}) <= before
        )
        rows = [row for row in movements if before < row["on"] <= last]
        # What a change of currency leaves between the two prices belongs to fx, too.
        fx += sum(
            row["amount_micros"] * (factor_of(row["currency"], row["on"]) or 0)
            for row in rows
            if row["movement"] == "moved"
        )
        rounded = len(rows) + 2 * len(segments)
        assert abs(bridge["fx"][number] * 1_000_000 - round(fx)) <= rounded, last
        before = last
    assert any(bridge["fx"])


def known_from(sites: Mapping[UUID, Site], row: Any) -> date:
    days = sites[row["instance_id"]].days_of(row["kind"])
    assert days is not None
    return days[0]


def change_of_factor(code: str, on: date) -> Fraction:
    return (factor_of(code, on) or Fraction()) - (factor_of(code, on - DAY) or Fraction())


@pytest.mark.parametrize("interval", [Interval.DAY, Interval.MONTH])
@pytest.mark.parametrize("target", [IN_EUR, CONSTANT], ids=lambda target: target.fx)
async def test_converted_bridge_adds_up(
    gateway: Gateway, discounted: Book, interval: Interval, target: Target
) -> None:
    ours, _, _ = discounted

    bridge = await bridge_of(gateway, ours, start=START, end=TODAY, interval=interval, target=target)

    ends, starts = bridge.pop("end"), bridge.pop("start")
    assert ("fx" in bridge) is (target.fx is Fx.DAILY)
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        assert start + sum(part[number] for part in bridge.values()) == end
    if target.fx is Fx.CONSTANT:
        assert all(abs(rest) < Decimal("0.001") for rest in bridge["rounding"])
    if target.fx is Fx.DAILY:
        assert not any(bridge["leaving"])


async def test_movements_are_converted_at_the_rate_of_their_day(gateway: Gateway, book: Book) -> None:
    ours, sites, _ = book
    asked = {"start": START, "end": TODAY, "interval": Interval.RANGE, "target": IN_EUR}

    bridge = await bridge_of(gateway, ours, **asked)

    sums: Counter[str] = Counter()
    by_id = {site.id: site for site in sites}
    for row in await movements_of(gateway, ours):
        if row["on"] > known_from(by_id, row):
            sums[row["movement"]] += converted(row["amount_micros"], row["currency"], row["on"])
    for movement in ("reactivation", "contraction", "churn"):
        assert bridge[movement] == [Decimal(format_micros(sums[movement]))], movement

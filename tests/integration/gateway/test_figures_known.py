"""Figures say which of their days are known, carried and complete."""

from datetime import UTC, date, datetime, timedelta

import pytest

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import Figure, Point
from libs.common.figures.groups import Group
from tests.integration.gateway.books import (
    ACTIONS,
    DAY,
    FIRST,
    KINDS,
    TODAY,
    Segment,
    Site,
    add_instance,
    add_segments,
    add_site,
    ask,
    points_of,
    sync,
    values_of,
)
from tests.integration.gateway.conftest import Gateway


async def test_last_figure_is_carried_up_to_today(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(
        gateway, ours, last_on=TODAY - 3 * DAY, as_of=datetime(2026, 2, 26, 6, 15, tzinfo=UTC)
    )
    await add_segments(gateway, ours, [Segment(site.id, to_on=TODAY - 2 * DAY)])

    answer = await ask(gateway, ours, "subscriptions", start=TODAY - 4 * DAY, end=TODAY + 9 * DAY)

    assert list(points_of(answer)) == [
        Point(TODAY - 4 * DAY, 1, None, complete=True),
        Point(TODAY - 3 * DAY, 1, None, complete=False),
        Point(TODAY - 2 * DAY, 1, "carried", complete=False),
        Point(TODAY - DAY, 1, "carried", complete=False),
        Point(TODAY, 1, "carried", complete=False),
    ]
    assert answer.as_of == site.as_of


async def test_late_instance_is_carried_beside_a_fresh_one(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    fresh = await add_site(gateway, ours)
    behind = await add_site(gateway, ours, last_on=TODAY - DAY, as_of=datetime(2026, 2, 28, 6, tzinfo=UTC))
    await add_segments(gateway, ours, [Segment(fresh.id), Segment(behind.id, to_on=TODAY)])

    answer = await ask(gateway, ours, "mrr")

    assert points_of(answer, currency="EUR") == (Point(TODAY, "20.000000", "carried", complete=False),)
    assert answer.as_of == behind.as_of


async def test_day_is_complete_once_a_run_began_after_its_end(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    made = await add_instance(gateway, ours, time_zone="Pacific/Auckland")
    # 23:50 of 28 February there; the run ended after midnight.
    began = datetime(2026, 2, 28, 10, 50, tzinfo=UTC)
    site = await sync(gateway, Site(ours, made, as_of=began))

    async def complete() -> list[date]:
        answer = await ask(gateway, ours, "customers", start=TODAY - 2 * DAY, end=TODAY)
        return [point.on for point in points_of(answer) if point.complete]

    assert await complete() == [date(2026, 2, 27)]
    await sync(gateway, Site(ours, site.id, as_of=began + timedelta(minutes=15)))
    assert await complete() == [date(2026, 2, 27), date(2026, 2, 28)]


async def test_days_before_the_first_sync_are_unpublished(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    await add_segments(gateway, ours, [Segment(site.id, from_on=FIRST - DAY)])

    answer = await ask(gateway, ours, "mrr", start=FIRST - DAY, end=FIRST)

    assert points_of(answer, currency="EUR") == (
        Point(FIRST - DAY, None, "before_first_sync", complete=False),
        Point(FIRST, "10.000000", None, complete=True),
    )
    assert answer.notes == ("Figures begin on 2026-01-10. Earlier days are not known.",)


async def test_split_answer_omits_days_before_the_first_sync(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    old = await add_site(gateway, ours, "Old")
    new = await add_site(gateway, ours, "New", first_on=FIRST + DAY)
    await add_segments(gateway, ours, [Segment(old.id), Segment(new.id, from_on=FIRST + DAY)])

    answer = await ask(
        gateway, ours, "subscriptions", Group.INSTANCE, start=FIRST - 30 * DAY, end=FIRST + DAY
    )

    assert [point.on for point in points_of(answer, instance=str(old.id))] == [FIRST, FIRST + DAY]
    assert [point.on for point in points_of(answer, instance=str(new.id))] == [FIRST + DAY]
    assert answer.notes == (
        "Figures begin on 2026-01-10. Earlier days are not known.",
        "New is known from 2026-01-11 on. Figures of earlier days are without it.",
    )


async def test_instance_added_later_leaves_earlier_days_open(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    old = await add_site(gateway, ours, "Old")
    new = await add_site(gateway, ours, "New", first_on=FIRST + DAY)
    await add_segments(gateway, ours, [Segment(old.id), Segment(new.id, from_on=FIRST)])

    answer = await ask(gateway, ours, "subscriptions", start=FIRST, end=FIRST + DAY)

    assert points_of(answer) == (
        Point(FIRST, 1, None, complete=False),
        Point(FIRST + DAY, 2, None, complete=True),
    )
    assert answer.notes == ("New is known from 2026-01-11 on. Figures of earlier days are without it.",)


async def test_kind_that_was_never_permitted_is_null_and_noted(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours, missing=("addon",))
    await add_segments(gateway, ours, [Segment(site.id)])

    total = await ask(gateway, ours, "mrr")
    by_kind = await ask(gateway, ours, "mrr", Group.KIND, start=TODAY - DAY)
    counts = await ask(gateway, ours, "customers", Group.KIND)

    assert points_of(total, currency="EUR") == (Point(TODAY, "10.000000", None, complete=False),)
    assert total.notes == (
        "Addons of Main have never been read, so figures are without them. "
        "The API role lacks GetClientsAddons. Tick it in Manage API Credentials → API Roles.",
    )
    assert [point.complete for point in points_of(by_kind, kind="service", currency="EUR")] == [True, False]
    assert points_of(by_kind, kind="addon") == (
        Point(TODAY - DAY, None, "not_permitted", complete=False),
        Point(TODAY, None, "not_permitted", complete=False),
    )
    assert values_of(counts, kind="addon") == [None]


async def test_kind_no_longer_permitted_is_carried_and_noted(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    read_at = datetime(2026, 2, 27, 6, 15, tzinfo=UTC)
    site = await add_site(gateway, ours, missing=("addon",), read_at=read_at)
    addon = Segment(site.id, kind="addon", product="addon:1", product_name="Backup", to_on=date(2026, 2, 28))
    await add_segments(gateway, ours, [Segment(site.id), addon])

    by_kind = await ask(gateway, ours, "mrr", Group.KIND, start=date(2026, 2, 26))

    assert points_of(by_kind, kind="addon", currency="EUR") == (
        Point(date(2026, 2, 26), "10.000000", None, complete=True),
        Point(date(2026, 2, 27), "10.000000", None, complete=False),
        Point(date(2026, 2, 28), "10.000000", "carried", complete=False),
        Point(TODAY, "10.000000", "carried", complete=False),
    )
    assert (
        "Addons of Main were last read on 2026-02-27 at 06:15 UTC. Since then their last figures are shown."
        in by_kind.notes[0]
    )


@pytest.mark.parametrize("was_read", [True, False])
@pytest.mark.parametrize(
    ("kind", "lens", "open_kinds"),
    [
        ("cancellation_request", Lens.CONTRACT, {"service"}),
        ("cancellation_request", Lens.ACTIVE, set()),
        ("invoice", Lens.CONTRACT, set(KINDS)),
        ("invoice", Lens.STATUS, set(KINDS)),
        ("customer_detail", Lens.ACTIVE, set(KINDS)),
        ("currency", Lens.CONTRACT, set()),
    ],
)
async def test_days_are_complete_once_all_their_rows_were_read(
    gateway: Gateway, kind: str, lens: Lens, open_kinds: set[str], was_read: bool
) -> None:
    ours = await gateway.organization("Ours")
    read_at = datetime(2026, 2, 20, 6, 15, tzinfo=UTC) if was_read else None
    site = await add_site(gateway, ours, missing=(kind,), read_at=read_at)
    await add_segments(gateway, ours, [Segment(site.id, kind=name, lens=lens) for name in KINDS])
    last_complete = date(2026, 2, 19) if was_read else None

    by_kind = await ask(gateway, ours, "mrr", Group.KIND, start=FIRST, lens=lens)
    total = await ask(gateway, ours, "mrr", start=FIRST, lens=lens)

    def last_complete_of(answer: Figure, **group: str) -> date | None:
        points = points_of(answer, currency="EUR", **group)
        assert all(point.reason is None for point in points)
        return max((point.on for point in points if point.complete), default=None)

    for name in KINDS:
        assert last_complete_of(by_kind, kind=name) == (last_complete if name in open_kinds else TODAY - DAY)
    assert last_complete_of(total) == (last_complete if open_kinds else TODAY - DAY)
    what = f"{kind.replace('_', ' ').capitalize()}s of Main"
    since = (
        "were last read on 2026-02-20 at 06:15 UTC. Since then" if was_read else "have never been read, so"
    )
    assert [note.startswith(f"{what} {since}") for note in total.notes] == [True] * bool(open_kinds)
    assert all(ACTIONS[kind] in note for note in total.notes)


async def test_kind_read_later_is_unknown_before_and_noted(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours, began_on={"addon": FIRST + 2 * DAY})
    addon = Segment(site.id, kind="addon", product="addon:1", from_on=FIRST + 2 * DAY)
    await add_segments(gateway, ours, [Segment(site.id), addon])
    days = {"start": FIRST + DAY, "end": FIRST + 2 * DAY}

    total = await ask(gateway, ours, "mrr", **days)
    by_kind = await ask(gateway, ours, "mrr", Group.KIND, **days)
    since = await ask(gateway, ours, "mrr", start=FIRST + 2 * DAY, end=FIRST + 2 * DAY)

    assert points_of(total, currency="EUR") == (
        Point(FIRST + DAY, "10.000000", None, complete=False),
        Point(FIRST + 2 * DAY, "20.000000", None, complete=True),
    )
    assert points_of(by_kind, kind="addon", currency="EUR") == (
        Point(FIRST + 2 * DAY, "10.000000", None, complete=True),
    )
    assert (
        total.notes
        == by_kind.notes
        == ("Addons of Main are known from 2026-01-12 on. Figures of earlier days are without them.",)
    )
    assert since.notes == ()


async def test_kind_that_one_instance_can_read_is_shown(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    whole = await add_site(gateway, ours, "Whole")
    narrow = await add_site(gateway, ours, "Narrow", missing=("addon",))
    await add_segments(
        gateway, ours, [Segment(whole.id, kind="addon", product="addon:1"), Segment(narrow.id)]
    )

    by_kind = await ask(gateway, ours, "subscriptions", Group.KIND)
    by_both = await ask(gateway, ours, "subscriptions", Group.KIND, Group.INSTANCE)

    assert points_of(by_kind, kind="addon") == (Point(TODAY, 1, None, complete=False),)
    assert values_of(by_both, kind="addon", instance=str(whole.id)) == [1]
    assert values_of(by_both, kind="addon", instance=str(narrow.id)) == [None]

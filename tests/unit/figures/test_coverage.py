"""What is known of a day follows from the sources of a figure."""

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from libs.common.contracts.lenses import Lens
from libs.common.figures.coverage import (
    Days,
    Freshness,
    KindState,
    Knowledge,
    extent_of,
    knowledge,
    newest_day,
    sources_behind,
    sources_of,
)
from libs.common.figures.groups import Group

MAIN, OTHER = UUID(int=1), UUID(int=2)
DAYS = Days(date(2026, 1, 10), date(2026, 3, 1), date(2026, 3, 1))


def instance(instance_id: UUID = MAIN, time_zone: str = "UTC", **kinds: KindState) -> Freshness:
    """An instance whose services, addons and domains are known on DAYS, but for the kinds that are given."""
    states = {kind: KindState(kind, DAYS) for kind in ("service", "addon", "domain")} | kinds
    as_of = datetime(2026, 3, 1, 6, tzinfo=UTC)
    return Freshness(instance_id, "Main", time_zone, as_of, DAYS.first_on, DAYS.last_on, states)


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        (date(2026, 1, 9), Knowledge(False, "before_first_sync", False)),
        (date(2026, 1, 10), Knowledge(True, None, True)),
        (date(2026, 3, 1), Knowledge(True, None, False)),
        (date(2026, 3, 2), Knowledge(True, "carried", False)),
    ],
)
def test_day_is_known_from_the_first_sync_on(on: date, expected: Knowledge) -> None:
    assert knowledge(sources_of([instance()], Lens.CONTRACT), on) == expected


def test_total_without_a_source_is_known_and_not_complete() -> None:
    refused = KindState("addon", None, code="permission_missing")
    sources = sources_of([instance(addon=refused)], Lens.CONTRACT)
    addons = sources_behind(extent_of({Group.KIND: "addon"}), sources)

    assert knowledge(sources, DAYS.first_on) == Knowledge(True, None, False)
    assert knowledge(addons, DAYS.first_on) == Knowledge(False, "not_permitted", False)


def test_paid_days_are_known_once_all_invoices_are_read() -> None:
    unread, read = instance(), replace(instance(), has_paid=True)

    assert knowledge(sources_of([unread], Lens.PAID), DAYS.first_on) == Knowledge(
        False, "invoices_not_read", False
    )
    assert knowledge(sources_of([read], Lens.PAID), DAYS.first_on) == Knowledge(True, None, True)


@pytest.mark.parametrize(("on", "is_closed"), [(date(2026, 2, 14), True), (date(2026, 2, 15), False)])
def test_paid_days_stay_open_for_the_grace(on: date, is_closed: bool) -> None:
    sources = sources_of([replace(instance(), has_paid=True)], Lens.PAID)

    assert knowledge(sources, on) == Knowledge(True, None, is_closed)


def test_paid_days_of_a_kind_stay_open_for_its_grace() -> None:
    domain = KindState("domain", DAYS, grace_days=30)
    sources = sources_of([replace(instance(domain=domain), has_paid=True)], Lens.PAID)

    assert [source.days.closed_before for source in sources if source.days] == [
        date(2026, 2, 15),
        date(2026, 2, 15),
        date(2026, 1, 30),
    ]


@pytest.mark.parametrize(("lens", "is_closed"), [(Lens.CONTRACT, False), (Lens.ACTIVE, True)])
def test_day_is_open_while_a_kind_that_it_needs_is_not_read(lens: Lens, is_closed: bool) -> None:
    requests = KindState("cancellation_request", None, code="permission_missing")
    sources = sources_of([instance(cancellation_request=requests)], lens)
    services = sources_behind(extent_of({Group.KIND: "service"}), sources)

    assert knowledge(services, DAYS.first_on).complete is is_closed


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({}, 6),
        ({Group.KIND: "domain"}, 2),
        ({Group.INSTANCE: str(OTHER)}, 3),
        ({Group.PRODUCT: "domain:.com"}, 2),
        ({Group.PRODUCT: f"{OTHER}:addon:name:7"}, 1),
        ({Group.CURRENCY: "EUR"}, 6),
    ],
)
def test_group_is_summed_over_its_sources(group: dict[Group, str], expected: int) -> None:
    sources = sources_of([instance(), instance(OTHER)], Lens.CONTRACT)

    behind = sources_behind(extent_of(group), sources)

    assert len(behind) == expected


def test_newest_day_is_today_where_it_is_latest() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    assert newest_day([instance(), instance(OTHER, "Pacific/Auckland")], now) == date(2026, 3, 2)

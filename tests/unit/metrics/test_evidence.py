"""From stored versions to what was observed on a day."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.billing import Kind
from services.metrics.formulas.evidence import (
    Observation,
    Reading,
    Subscription,
    Version,
    add_version,
    by_kind,
    last_read_at,
)
from tests.builders import subscription

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
# The run of each hour ends five minutes later; every second one reads addons, too.
READINGS = [
    Reading(
        NOON + number * HOUR,
        NOON + number * HOUR + timedelta(minutes=5),
        ["addon", "service"] if number % 2 else ["service"],
        {"service": {2}} if number == 1 else {},
    )
    for number in range(4)
]


def version(day: float = 0, **values: Any) -> Version:
    body = subscription(1, 7, **values)
    return Version("service", 1, NOON + timedelta(days=day), body)


def removal(day: float) -> Version:
    return Version("service", 1, NOON + timedelta(days=day), None)


def observed(*versions: Version, time_zone: str = "UTC") -> list[Observation]:
    observations: list[Observation] = []
    for shown in versions:
        add_version(observations, shown, [], time_zone)
    return observations


@pytest.mark.parametrize(
    ("kind", "minutes", "hour"),
    [("service", 5, None), ("service", 6, 0), ("service", 66, 1), ("addon", 66, 1), ("addon", 186, 3)],
)
def test_last_reading_is_the_newest_that_had_ended(kind: str, minutes: int, hour: int | None) -> None:
    readings = by_kind(READINGS)[kind]

    read_at = last_read_at(readings, Subscription(kind, 1), NOON + timedelta(minutes=minutes))

    assert read_at == (None if hour is None else NOON + hour * HOUR)


def test_kind_without_readings_was_never_read() -> None:
    assert (
        last_read_at(by_kind(READINGS).get("domain", ()), Subscription("domain", 1), NOON + 9 * HOUR) is None
    )


@pytest.mark.parametrize(("row_id", "hour"), [(1, 1), (2, 0)])
def test_reading_says_nothing_about_a_row_it_could_not_read(row_id: int, hour: int) -> None:
    readings = by_kind(READINGS)["service"]

    assert last_read_at(readings, Subscription("service", row_id), NOON + 1.5 * HOUR) == NOON + hour * HOUR


@given(st.lists(st.booleans(), max_size=8), st.lists(st.integers(0, 240), min_size=1, max_size=5))
def test_unreadable_row_is_seen_as_if_the_run_did_not_look(readable: list[bool], changed: list[int]) -> None:
    readings = [
        Reading(NOON + day * 24 * HOUR, NOON + (day * 24 + 1) * HOUR, ["service"], {"service": ids})
        for day, ids in enumerate([set() if is_readable else {1} for is_readable in readable])
    ]
    versions = [version(hours / 24, recurring_micros=hours) for hours in sorted(changed)]

    def observe(among: list[Reading]) -> list[Observation]:
        observations: list[Observation] = []
        for shown in versions:
            add_version(observations, shown, among, "UTC")
        return observations

    assert observe(readings) == observe(
        [reading for reading in readings if not reading.unreadable["service"]]
    )


def test_version_is_observed_on_a_day_of_the_time_zone() -> None:
    [observation] = observed(version(), time_zone="Pacific/Auckland")

    assert observation.on == date(2026, 3, 2)
    assert (observation.customer_id, observation.product) == (7, "service:1")


def test_same_state_with_another_label_is_seen_again() -> None:
    [observation] = observed(version(), version(3, label="other.example"))

    assert (observation.on, observation.last_seen_on) == (date(2026, 3, 1), date(2026, 3, 4))


def test_removal_keeps_the_last_state() -> None:
    first, last = observed(version(), removal(2))

    assert (last.on, last.is_removed) == (date(2026, 3, 3), True)
    assert last._replace(on=first.on, is_removed=False) == first


def test_removal_before_any_state_shows_nothing() -> None:
    assert observed(removal(0)) == []


@pytest.mark.parametrize(
    ("kind", "values", "product", "name"),
    [
        (Kind.SERVICE, {"product_id": 3, "product_name": "Small"}, "service:3", "Small"),
        (Kind.ADDON, {"product_id": None, "product_name": "7"}, "addon:name:7", "7"),
        (Kind.ADDON, {"product_id": None, "product_name": None}, "addon:unnamed:1", "Unnamed addon 1"),
        (Kind.DOMAIN, {"label": "Shop.Co.UK"}, "domain:co.uk", ".co.uk"),
    ],
)
def test_subscription_is_summed_under_its_product(
    kind: Kind, values: dict[str, Any], product: str, name: str
) -> None:
    body = subscription(1, 7, kind, **values)

    observations: list[Observation] = []
    add_version(observations, Version(kind, 1, NOON, body), [], "UTC")

    assert (observations[0].product, observations[0].product_name) == (product, name)

"""The timeline of one subscription: on which days it counts in each lens. Examples come first, then properties.

One file because examples and properties check one function, `timeline`, with the same builders.
"""

from collections import defaultdict
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.billing import Kind
from libs.common.contracts.lenses import RECORD_LENSES, Lens
from services.metrics.formulas.evidence import Observation, Request
from services.metrics.formulas.timeline import Timeline
from tests.unit.metrics.timelines import CUSTOMER, FIRST, OTHER, day, line, live_on, seen, spans

ALL = set(RECORD_LENSES)


def lenses(result: Timeline, on: date = FIRST) -> set[Lens]:
    return {lens for lens in RECORD_LENSES if live_on(result, on, lens)}


def test_subscription_counts_from_its_first_observation() -> None:
    result = line(seen(0))

    assert {segment.from_on for segment in result.segments} == {FIRST}
    assert lenses(result) == ALL


def test_contract_ends_fourteen_days_after_the_due_date() -> None:
    result = line(seen(next_due_on=day(20)))

    assert spans(result) == [(day(0), day(35))]
    assert [bool(live_on(result, day(number))) for number in (33, 34, 35)] == [True, True, False]


def test_kind_that_does_not_count_has_no_segment() -> None:
    assert line(seen(next_due_on=day(20)), counts=False) == Timeline((), ())


@pytest.mark.parametrize(("grace_days", "to"), [(0, 21), (30, 51), (90, 111)])
def test_contract_ends_after_the_grace_of_its_instance(grace_days: int, to: int) -> None:
    assert spans(line(seen(next_due_on=day(20)), grace_days=grace_days)) == [(day(0), day(to))]


def test_due_date_matters_to_the_contract_only() -> None:
    result = line(seen(next_due_on=day(-15)))

    assert lenses(result) == {Lens.ACTIVE, Lens.STATUS}
    assert spans(result, Lens.ACTIVE) == spans(result, Lens.STATUS) == [(day(0), None)]


def test_open_request_removes_the_grace() -> None:
    result = line(seen(next_due_on=day(20)), requests=[Request(day(5), id=1, is_open=True)])

    assert spans(result) == [(day(0), day(21))]


def test_open_request_ends_no_paid_period_and_no_other_lens() -> None:
    asked = [Request(day(0), id=1, is_open=True)]

    assert lenses(line(seen(next_due_on=day(0)), requests=asked)) == ALL
    assert lenses(line(seen(next_due_on=day(-1)), requests=asked)) == {Lens.ACTIVE, Lens.STATUS}


def test_request_ends_an_overdue_subscription_on_its_own_day() -> None:
    result = line(seen(next_due_on=day(-3)), requests=[Request(day(5), id=1, is_open=True)])

    assert spans(result) == [(day(0), day(5))]


def test_withdrawn_request_restores_the_grace() -> None:
    asked = [Request(day(2), id=1, is_open=True), Request(day(25), id=1, is_open=False)]

    result = line(seen(next_due_on=day(20)), requests=asked)

    assert spans(result) == [(day(0), day(21)), (day(25), day(35))]


def test_withdrawn_request_leaves_another_one_open() -> None:
    asked = [
        Request(day(1), id=1, is_open=True),
        Request(day(1), id=2, is_open=True),
        Request(day(3), id=1, is_open=False),
    ]

    assert spans(line(seen(), requests=asked)) == [(day(0), day(21))]


def test_request_before_the_first_observation_counts_at_once() -> None:
    result = line(seen(next_due_on=day(20)), requests=[Request(day(-9), id=1, is_open=True)])

    assert spans(result) == [(day(0), day(21))]


@pytest.mark.parametrize(
    ("kind", "status", "counts"),
    [
        (Kind.SERVICE, "active", ALL),
        (Kind.SERVICE, "suspended", {Lens.CONTRACT, Lens.STATUS}),
        (Kind.ADDON, "suspended", {Lens.CONTRACT, Lens.STATUS}),
        (Kind.SERVICE, "grace", set()),
        (Kind.SERVICE, "pending", set()),
        (Kind.SERVICE, "terminated", set()),
        (Kind.SERVICE, "cancelled", set()),
        (Kind.SERVICE, "completed", set()),
        (Kind.SERVICE, "fraud", set()),
        (Kind.SERVICE, "a_status_of_next_year", set()),
        (Kind.DOMAIN, "active", ALL),
        (Kind.DOMAIN, "grace", {Lens.CONTRACT}),
        (Kind.DOMAIN, "redemption", set()),
        (Kind.DOMAIN, "expired", set()),
        (Kind.DOMAIN, "transferred_away", set()),
        (Kind.DOMAIN, "suspended", set()),
    ],
)
def test_each_status_counts_in_its_lenses(kind: Kind, status: str, counts: set[Lens]) -> None:
    assert lenses(line(seen(status=status), kind=kind)) == counts


def test_suspension_ends_only_the_lens_active() -> None:
    result = line(seen(0), seen(4, status="suspended"))

    assert spans(result, Lens.ACTIVE) == [(day(0), day(4))]
    assert spans(result, Lens.STATUS) == [(day(0), day(4)), (day(4), None)]
    assert spans(result) == [(day(0), day(4)), (day(4), day(35))]
    assert [segment.status for segment in live_on(result, day(4))] == ["suspended"]


def test_free_subscription_counts_nowhere_and_is_not_listed() -> None:
    assert line(seen(recurring_micros=0)) == Timeline((), ())


@pytest.mark.parametrize("price", [-5_000_000, -990_000])
def test_negative_price_counts_below_zero_and_is_listed(price: int) -> None:
    result = line(seen(recurring_micros=price), currencies={})

    assert result == Timeline((), ("amount_negative", "currency_unknown"))
    assert [segment.mrr_micros for segment in line(seen(recurring_micros=price)).segments] == [price] * 3


def test_price_of_minus_one_is_not_offered() -> None:
    assert line(seen(recurring_micros=-1_000_000)) == Timeline((), ("amount_not_offered",))


@pytest.mark.parametrize(
    ("kind", "status"),
    [(Kind.SERVICE, "on_hold"), (Kind.ADDON, "grace"), (Kind.DOMAIN, "suspended"), (Kind.DOMAIN, "unknown")],
)
def test_unknown_status_counts_nowhere_and_is_listed(kind: Kind, status: str) -> None:
    assert line(seen(status=status), kind=kind) == Timeline((), ("status_unknown",))
    assert line(seen(status=status, cycle="one_time"), kind=kind) == Timeline((), ())


@pytest.mark.parametrize("cycle", ["free", "one_time"])
def test_one_time_subscription_counts_nowhere_and_is_not_listed(cycle: str) -> None:
    assert line(seen(cycle=cycle)) == Timeline((), ())


@pytest.mark.parametrize(
    ("cycle", "recurring", "mrr"),
    [
        ("monthly", 10_000_000, 10_000_000),
        ("quarterly", 10_000_000, 3_333_333),
        ("semiannually", 10_000_000, 1_666_667),
        ("annually", 143_880_000, 11_990_000),
        ("biennially", 36, 2),  # 1.5 goes to the even neighbour
        ("biennially", 60, 2),  # 2.5 too
        ("triennially", 36_000_000, 1_000_000),
        ("years_10", 120_000_000, 1_000_000),
    ],
)
def test_mrr_is_the_recurring_amount_divided_by_its_months(cycle: str, recurring: int, mrr: int) -> None:
    result = line(seen(cycle=cycle, recurring_micros=recurring))

    assert {segment.mrr_micros for segment in result.segments} == {mrr}


@pytest.mark.parametrize(
    ("kind", "status"), [(Kind.SERVICE, "active"), (Kind.SERVICE, "suspended"), (Kind.DOMAIN, "grace")]
)
def test_unknown_cycle_counts_nowhere_and_is_listed(kind: Kind, status: str) -> None:
    assert line(seen(cycle="unknown", status=status), kind=kind) == Timeline((), ("cycle_unknown",))


def test_unknown_currency_counts_nowhere_and_is_listed() -> None:
    assert line(seen(), currencies={OTHER: "USD"}) == Timeline((), ("currency_unknown",))


def test_missing_due_date_is_in_no_contract_and_is_listed() -> None:
    result = line(seen(next_due_on=None))

    assert lenses(result) == {Lens.ACTIVE, Lens.STATUS}
    assert result.issues == ("due_date_missing",)


@pytest.mark.parametrize("values", [{"cycle": "unknown"}, {"next_due_on": None}, {"customer_id": 99}])
@pytest.mark.parametrize("ended", [{"status": "terminated"}, {"recurring_micros": 0}, {"is_removed": True}])
def test_ended_subscription_is_not_listed(values: dict[str, Any], ended: dict[str, Any]) -> None:
    assert line(seen(**values | ended)) == Timeline((), ())


def test_repaired_subscription_is_no_longer_listed() -> None:
    result = line(seen(0, next_due_on=None), seen(3))

    assert result.issues == ()
    assert spans(result) == [(day(3), day(35))]


def test_future_registration_starts_the_contract_then() -> None:
    result = line(seen(registered_on=day(5)))

    assert spans(result) == [(day(5), day(35))]
    assert lenses(result, day(4)) == {Lens.ACTIVE, Lens.STATUS}


def test_unpaid_new_subscription_counts_for_the_grace_only() -> None:
    assert spans(line(seen(registered_on=day(-3), next_due_on=day(-3)))) == [(day(0), day(12))]


def test_payment_moves_the_end_of_the_same_segment() -> None:
    result = line(seen(0, next_due_on=day(20)), seen(18, next_due_on=day(50)))

    assert spans(result) == [(day(0), day(65))]


def test_paid_after_the_grace_leaves_a_gap() -> None:
    result = line(seen(0, next_due_on=day(0)), seen(20, next_due_on=day(30)))

    assert spans(result) == [(day(0), day(15)), (day(20), day(45))]


@pytest.mark.parametrize("last_read_on", [None, day(0), day(14)])
def test_payment_between_syncs_leaves_no_gap(last_read_on: date | None) -> None:
    result = line(seen(0, next_due_on=day(0)), seen(20, next_due_on=day(30), last_read_on=last_read_on))

    assert spans(result) == [(day(0), day(45))]


def test_payment_does_not_bridge_days_that_were_seen_unpaid() -> None:
    paid = seen(40, next_due_on=day(60), last_read_on=day(15))

    assert spans(line(seen(0, next_due_on=day(0)), paid)) == [(day(0), day(15)), (day(40), day(75))]


def test_unpaid_between_syncs_ends_after_the_grace() -> None:
    unseen: dict[str, Any] = {"next_due_on": day(0), "last_read_on": day(0)}

    for result in (
        line(seen(0, next_due_on=day(0))),
        line(seen(0, next_due_on=day(0)), seen(40, **unseen, recurring_micros=12_000_000)),
        line(seen(0, next_due_on=day(0)), seen(40, **unseen, status="terminated")),
        line(seen(0, next_due_on=day(0)), seen(40, **unseen, is_removed=True)),
    ):
        assert spans(result) == [(day(0), day(15))]


def test_payment_between_syncs_counts_to_its_own_end() -> None:
    paid_once = seen(60, next_due_on=day(20), status="terminated", last_read_on=day(0))

    assert spans(line(seen(0, next_due_on=day(0)), paid_once)) == [(day(0), day(35))]


def test_first_observation_after_a_gap_dates_the_payment() -> None:
    unpaid = seen(40, next_due_on=day(0), last_read_on=day(0), recurring_micros=12_000_000)
    paid = seen(40, next_due_on=day(60), last_read_on=day(0))

    result = line(seen(0, next_due_on=day(0)), unpaid, paid)

    assert spans(result) == [(day(0), day(15)), (day(40), day(75))]


def test_overdue_observation_stays_an_end_when_paid_later() -> None:
    overdue = seen(20, next_due_on=day(0), recurring_micros=12_000_000, last_read_on=day(0))
    paid = seen(40, next_due_on=day(60), last_read_on=day(0))

    assert spans(line(seen(0, next_due_on=day(0)), overdue, paid)) == [(day(0), day(15)), (day(40), day(75))]


@pytest.mark.parametrize(("last_seen_on", "gap"), [(None, False), (14, False), (15, True), (30, True)])
def test_unchanged_state_seen_overdue_again_has_ended(last_seen_on: int | None, gap: bool) -> None:
    again = None if last_seen_on is None else day(last_seen_on)
    first = seen(0, next_due_on=day(0), last_seen_on=again)
    paid = seen(40, next_due_on=day(60), last_read_on=day(0))

    assert spans(line(first, paid)) == (
        [(day(0), day(15)), (day(40), day(75))] if gap else [(day(0), day(75))]
    )


def test_overdue_within_grace_of_later_request_proves_nothing() -> None:
    first = seen(5, next_due_on=day(0), last_read_on=day(0))
    paid = seen(40, next_due_on=day(60), last_read_on=day(0))

    result = line(first, paid, requests=[Request(day(10), id=1, is_open=True)])

    assert spans(result) == [(day(5), day(61))]


def test_missing_due_date_leaves_no_gap_in_a_paid_period() -> None:
    result = line(seen(0, next_due_on=day(20)), seen(3, next_due_on=None), seen(17, next_due_on=day(20)))

    assert spans(result) == [(day(0), day(35))]
    assert line(seen(0), seen(3, next_due_on=None)).issues == ("due_date_missing",)


def test_missing_due_date_pays_for_nothing_more() -> None:
    result = line(seen(0, next_due_on=day(2)), seen(3, next_due_on=None), seen(30, next_due_on=day(40)))

    assert spans(result) == [(day(0), day(17)), (day(30), day(55))]


def test_price_changes_on_the_day_of_its_observation() -> None:
    result = line(seen(0), seen(9, recurring_micros=12_000_000))

    assert spans(result, Lens.ACTIVE) == [(day(0), day(9)), (day(9), None)]
    assert [live_on(result, day(number))[0].mrr_micros for number in (8, 9)] == [10_000_000, 12_000_000]


def test_last_observation_of_a_day_counts() -> None:
    assert line(seen(0, recurring_micros=5), seen(0, status="pending"), seen(0)) == line(seen(0))
    assert line(seen(0), seen(3, status="cancelled"), seen(3)) == line(seen(0))


def test_removed_subscription_counts_until_the_day_before() -> None:
    result = line(seen(0), seen(6, is_removed=True))

    assert {(segment.from_on, segment.to_on) for segment in result.segments} == {(day(0), day(6))}


def test_returning_subscription_counts_again() -> None:
    result = line(seen(0), seen(6, is_removed=True), seen(8))

    assert spans(result, Lens.ACTIVE) == [(day(0), day(6)), (day(8), None)]


def test_subscription_that_changes_customers_changes_currency() -> None:
    result = line(seen(0), seen(4, customer_id=OTHER))

    assert [
        (segment.customer_id, segment.currency, segment.from_on, segment.to_on)
        for segment in result.segments
        if segment.lens is Lens.ACTIVE
    ] == [(CUSTOMER, "EUR", day(0), day(4)), (OTHER, "USD", day(4), None)]


def test_only_customers_without_currency_are_omitted() -> None:
    result = line(seen(0), seen(4, customer_id=OTHER), currencies={CUSTOMER: "EUR"})

    assert spans(result, Lens.ACTIVE) == [(day(0), day(4))]
    assert result.issues == ("currency_unknown",)


def test_product_has_its_newest_name_from_the_start() -> None:
    result = line(seen(0, product_name="Hosting"), seen(3, product_name="Web Hosting"))

    assert {segment.product_name for segment in result.segments} == {"Web Hosting"}
    assert spans(result, Lens.ACTIVE) == [(day(0), None)]


def test_last_day_of_the_calendar_is_a_valid_due_date() -> None:
    assert lenses(line(seen(next_due_on=date.max)), day(9000)) == ALL


# Properties. Observations and requests come in the order in which they were made, several on a day and over few days.
_VALUES = st.fixed_dictionaries(
    {
        "customer_id": st.sampled_from([CUSTOMER, OTHER, 9]),
        "status": st.sampled_from(["active", "active", "suspended", "grace", "pending", "terminated"]),
        "cycle": st.sampled_from(["monthly", "annually", "years_2", "free", "one_time", "unknown"]),
        "recurring_micros": st.sampled_from([-1_000_000, 0, 1, 7, 10_000_000, 999_999_999_999]),
        "registered_on": st.none() | st.integers(-40, 40).map(day),
        "next_due_on": st.none() | st.integers(-40, 60).map(day),
        "product": st.sampled_from(["service:1", "service:2"]),
        "product_name": st.just("Hosting"),
        "is_removed": st.sampled_from([False, False, False, True]),
        "quantity": st.sampled_from([1, 1, 2]),
        "renews": st.sampled_from([True, True, False]),
    }
)
_OBSERVATIONS = (
    st.lists(st.tuples(st.integers(0, 40), _VALUES), max_size=8)
    .map(lambda states: sorted(states, key=lambda state: state[0]))
    .map(lambda states: [seen(on, **values) for on, values in states])
)
_REQUESTS = st.lists(
    st.builds(Request, st.integers(-5, 45).map(day), id=st.integers(1, 2), is_open=st.booleans()), max_size=5
).map(lambda requests: sorted(requests, key=lambda request: request.on))
_KINDS = st.sampled_from([Kind.SERVICE, Kind.ADDON, Kind.DOMAIN])
_DAYS = [day(number) for number in range(-10, 110)]


def mrr_per_day(result: Timeline) -> dict[tuple[Lens, date], int]:
    """Return the sum of the live segments of each day."""
    return {
        (lens, on): sum(segment.mrr_micros for segment in live_on(result, on, lens))
        for lens in RECORD_LENSES
        for on in _DAYS
    }


@given(_KINDS, _OBSERVATIONS, _REQUESTS)
def test_segments_of_a_lens_are_in_order_and_never_overlap(
    kind: Kind, observations: list[Observation], requests: list[Request]
) -> None:
    result = line(*observations, requests=requests, kind=kind)

    by_lens = defaultdict(list)
    for segment in result.segments:
        by_lens[segment.lens].append(segment)
        assert segment.to_on is None or segment.from_on < segment.to_on
    for ordered in by_lens.values():
        for segment, following in pairwise(ordered):
            assert segment.to_on is not None
            assert segment.to_on <= following.from_on
            # Two segments that touch differ, so that an unchanged past is never written again.
            goes_on = segment.to_on == following.from_on
            assert (
                not goes_on
                or segment._replace(from_on=following.from_on, to_on=following.to_on, cause=following.cause)
                != following
            )
            assert (segment.cause is None) is goes_on
        assert (ordered[-1].cause is None) is (ordered[-1].to_on is None)


@given(_KINDS, _OBSERVATIONS, _REQUESTS, st.randoms(use_true_random=False))
def test_repeated_evidence_changes_nothing(
    kind: Kind, observations: list[Observation], requests: list[Request], chance: Any
) -> None:
    doubled = [repeated for observation in observations for repeated in [observation] * chance.choice([1, 2])]
    by_id = [[request for request in requests if request.id == number] for number in (1, 2)]
    chance.shuffle(by_id)
    shuffled = [request for some in by_id for request in some]

    once = line(*observations, requests=requests, kind=kind)

    assert line(*doubled, requests=shuffled, kind=kind) == once
    assert line(*observations, requests=requests, kind=kind) == once


@given(_KINDS, _OBSERVATIONS, _REQUESTS, st.integers(1, 5))
def test_unchanged_later_observation_changes_nothing(
    kind: Kind, observations: list[Observation], requests: list[Request], days: int
) -> None:
    until = [following.on for following in observations[1:]] + [day(60)]
    again = [
        observation._replace(on=observation.on + timedelta(number))
        for observation, end in zip(observations, until, strict=False)
        for number in range(days + 1)
        if number == 0 or observation.on + timedelta(number) <= end
    ]

    assert line(*again, requests=requests, kind=kind) == line(*observations, requests=requests, kind=kind)


@given(_KINDS, _OBSERVATIONS, st.randoms(use_true_random=False))
def test_order_of_observations_of_different_days_is_free(
    kind: Kind, observations: list[Observation], chance: Any
) -> None:
    last_of_a_day = list({observation.on: observation for observation in observations}.values())
    shuffled = chance.sample(last_of_a_day, len(last_of_a_day))

    assert mrr_per_day(line(*shuffled, kind=kind)) == mrr_per_day(line(*observations, kind=kind))


@given(_KINDS, _OBSERVATIONS, _REQUESTS)
@settings(max_examples=50)
def test_changes_up_to_a_day_sum_to_its_balance(
    kind: Kind, observations: list[Observation], requests: list[Request]
) -> None:
    result = line(*observations, requests=requests, kind=kind)

    changes: dict[tuple[Lens, date], int] = defaultdict(int)
    for segment in result.segments:
        changes[segment.lens, segment.from_on] += segment.mrr_micros
        if segment.to_on is not None:
            changes[segment.lens, segment.to_on] -= segment.mrr_micros

    for (lens, on), mrr in mrr_per_day(result).items():
        assert mrr == sum(change for (of, at), change in changes.items() if of is lens and at <= on)


@given(_KINDS, _OBSERVATIONS, _REQUESTS, st.integers(0, 8))
@settings(max_examples=50)
def test_later_observation_changes_no_earlier_day(
    kind: Kind, observations: list[Observation], requests: list[Request], count: int
) -> None:
    early = observations[:count]
    until = early[-1].on if early else FIRST
    # Days that were over when the last of the early observations was made.
    later = [observation for observation in observations[count:] if observation.on > until]

    before = mrr_per_day(line(*early, requests=[r for r in requests if r.on <= until], kind=kind))
    after = mrr_per_day(line(*early, *later, requests=requests, kind=kind))

    if early:
        assert {key: mrr for key, mrr in before.items() if key[1] <= until} == {
            key: mrr for key, mrr in after.items() if key[1] <= until
        }


# In these nothing is sold yet, or no longer: docs/metrics.md says that they count nowhere.
_NEVER = {
    Kind.SERVICE: {"pending", "terminated", "cancelled", "fraud", "completed"},
    Kind.DOMAIN: {"pending", "pending_registration", "pending_transfer", "redemption", "expired"}
    | {"transferred_away", "cancelled", "fraud"},
}
_NEVER[Kind.ADDON] = _NEVER[Kind.SERVICE]


@given(
    _KINDS,
    _OBSERVATIONS.filter(bool),
    _REQUESTS,
    st.sampled_from(
        ["active", "suspended", "grace", "on_hold", *sorted(_NEVER[Kind.SERVICE] | _NEVER[Kind.DOMAIN])]
    ),
)
def test_priced_subscription_is_live_listed_or_never_counts(
    kind: Kind, observations: list[Observation], requests: list[Request], status: str
) -> None:
    last = observations[-1]._replace(status=status)
    result = line(*observations[:-1], last, requests=requests, kind=kind)

    claims = last.recurring_micros != 0 and last.cycle not in {"free", "one_time"} and not last.is_removed
    # A domain in grace counts by contract only, so it ends when it is unpaid for too long.
    is_over = status == "grace" and (last.next_due_on or day(-40)) + timedelta(14) < max(
        last.on, last.registered_on or last.on
    )
    has_ended = is_over or (status == "grace" and any(request.is_open for request in requests))
    if claims and status not in _NEVER[kind] and not has_ended:
        assert result.issues or any(
            segment.to_on is None or segment.to_on > last.on for segment in result.segments
        )


# Subscriptions that are in grace, ended and paid in turns. Days without a sync are where they can go wrong.
_DUE = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["active", "active", "suspended", "terminated"]),
        "recurring_micros": st.sampled_from([10_000_000, 10_000_000, 12_000_000, 0]),
        "next_due_on": st.integers(-10, 70).map(day),
        "is_removed": st.sampled_from([False, False, False, True]),
    }
)


@st.composite
def _syncs(draw: st.DrawFn, most_a_day: int) -> tuple[list[date], list[Observation]]:
    """Draw days on which syncs read everything, and what they saw on some of them."""
    days = sorted(draw(st.sets(st.integers(0, 60), min_size=1, max_size=8)))
    observed = []
    for before, on in pairwise([None, *days]):
        assert on is not None
        if before is None or draw(st.booleans()):
            last = None if before is None else day(before)
            observed += [
                seen(on, **values | {"last_read_on": last})
                for values in draw(st.lists(_DUE, min_size=1, max_size=most_a_day))
            ]
    return [day(on) for on in days], observed


@given(_KINDS, _syncs(most_a_day=2), _REQUESTS)
@settings(max_examples=300)
def test_later_sync_changes_no_closed_day(
    kind: Kind, synced: tuple[list[date], list[Observation]], requests: list[Request]
) -> None:
    days, observations = synced
    closed: dict[tuple[Lens, date], int] = {}
    for today in days:
        seen_by_then = [observation for observation in observations if observation.on <= today]
        asked = [request for request in requests if request.on <= today]
        figures = mrr_per_day(line(*seen_by_then, requests=asked, kind=kind))
        assert closed.items() <= figures.items()
        closed = {key: mrr for key, mrr in figures.items() if key[1] < today}


@given(_KINDS, _syncs(most_a_day=1))
@settings(max_examples=300)
def test_subscription_live_at_two_syncs_was_live_between_them(
    kind: Kind, synced: tuple[list[date], list[Observation]]
) -> None:
    days, observations = synced
    result = line(*observations, kind=kind)
    for on, following in pairwise(days):
        for lens in RECORD_LENSES:
            if live_on(result, on, lens) and live_on(result, following, lens):
                between = [on + timedelta(number) for number in range(1, (following - on).days)]
                assert all(live_on(result, between_on, lens) for between_on in between)


@st.composite
def _partial_syncs(draw: st.DrawFn) -> list[Observation]:
    """Draw what syncs saw that did not read everything: only the rows that they saw prove anything."""
    days = sorted(draw(st.sets(st.integers(0, 60), min_size=1, max_size=8)))
    observed = []
    for on, until in pairwise([*days, 90]):
        values = draw(_DUE) | {"last_read_on": draw(st.none() | st.integers(-5, on).map(day))}
        again = draw(st.none() | st.integers(on, until - 1).map(day))
        observed.append(seen(on, **values, last_seen_on=again))
    return observed


@given(_KINDS, _partial_syncs(), _REQUESTS)
@settings(max_examples=500)
def test_day_seen_overdue_beyond_grace_is_never_live(
    kind: Kind, observations: list[Observation], requests: list[Request]
) -> None:
    result = line(*observations, requests=requests, kind=kind)

    for observation in observations:
        assert observation.next_due_on is not None
        on = max(observation.on, observation.next_due_on + timedelta(15))
        while on <= (observation.last_seen_on or observation.on):
            assert live_on(result, on) == []
            on += timedelta(1)

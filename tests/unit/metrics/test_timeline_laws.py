"""Laws of the timeline with all evidence: paid periods, requests, and values of customers and products that change."""

from datetime import date, timedelta
from fractions import Fraction
from itertools import groupby, pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.billing import Kind
from libs.common.contracts.lenses import Lens
from services.metrics.formulas.evidence import Dated, Evidence, Request
from services.metrics.formulas.invoices import PaidPeriod
from services.metrics.formulas.timeline import Segment, timeline
from tests.unit.metrics.timelines import CUSTOMER, OTHER, day, paid, seen

_STATES = st.fixed_dictionaries(
    {
        "customer_id": st.sampled_from([CUSTOMER, CUSTOMER, OTHER]),
        "status": st.sampled_from(
            [
                "active",
                "active",
                "active",
                "suspended",
                "terminated",
                "cancelled",
                "transferred_away",
                "grace",
            ]
        ),
        "cycle": st.sampled_from(["monthly", "monthly", "annually", "free"]),
        "recurring_micros": st.sampled_from([0, 10_000_000, 10_000_000, 12_000_000]),
        "registered_on": st.none() | st.integers(-200, 5).map(day),
        "next_due_on": st.none() | st.integers(-150, 60).map(day),
        "last_read_on": st.none(),
        "renews": st.sampled_from([True, True, False]),
    }
)
_OBSERVATIONS = st.lists(
    st.tuples(st.integers(0, 30), _STATES), min_size=1, max_size=4, unique_by=lambda state: state[0]
).map(lambda states: [seen(on, **values) for on, values in sorted(states, key=lambda state: state[0])])
_REQUESTS = st.lists(
    st.builds(
        Request,
        st.integers(0, 20).map(day),
        id=st.integers(1, 2),
        is_open=st.booleans(),
        requested_on=st.none() | st.integers(-100, 0).map(day),
        is_immediate=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda request: (request.on, request.id),
).map(lambda requests: sorted(requests, key=lambda request: request.on))


@st.composite
def _paid_periods(draw: st.DrawFn) -> list[PaidPeriod]:
    """Draw periods that do not overlap, in order of days."""
    days = sorted(draw(st.sets(st.integers(-200, 60), max_size=9)))
    periods = []
    for from_on, to_on in pairwise(days):
        if draw(st.booleans()):
            late = draw(st.sampled_from([0, 0, 0, 20, 60]))
            periods.append(
                paid(
                    from_on,
                    to_on,
                    mrr_micros=draw(st.sampled_from([0, 10_000_000, 10_000_000, 12_000_000])),
                    counts_from=day(from_on + late),
                    paid_on=day(from_on + late),
                    customer_id=draw(st.sampled_from([CUSTOMER, CUSTOMER, OTHER])),
                    cycle_months=draw(st.sampled_from([None, Fraction(1), Fraction(12), Fraction(1, 2)])),
                    refunded_on=draw(st.none() | st.integers(from_on, 60).map(day)),
                )
            )
    return periods


_DATED = st.lists(
    st.builds(Dated, st.integers(0, 30).map(day), st.sampled_from(["EUR", "USD"])), min_size=1, max_size=3
).map(lambda values: sorted(values, key=lambda value: value.on))
EVIDENCE = st.builds(
    Evidence,
    kind=st.sampled_from([Kind.SERVICE, Kind.ADDON, Kind.DOMAIN]),
    observations=_OBSERVATIONS,
    requests=_REQUESTS,
    currencies=st.fixed_dictionaries({CUSTOMER: _DATED, OTHER: _DATED}),
    grace_days=st.sampled_from([0, 14, 14, 30, 90]),
    paid_periods=_paid_periods(),
    customer_groups=st.fixed_dictionaries({CUSTOMER: _DATED}),
    countries=st.fixed_dictionaries({CUSTOMER: _DATED}),
    product_groups=st.fixed_dictionaries({"service:1": _DATED}),
    parent_ended_on=st.none() | st.integers(-100, 0).map(day),
    counts=st.just(True),
)


def by_lens(segments: tuple[Segment, ...]) -> list[list[Segment]]:
    return [list(of_lens) for _, of_lens in groupby(segments, key=lambda segment: segment.lens)]


def without_days(segment: Segment) -> Segment:
    return segment._replace(from_on=date.min, to_on=None, cause=None, basis="")


@given(EVIDENCE)
@settings(max_examples=400)
def test_segments_are_ordered_merged_and_never_overlap(evidence: Evidence) -> None:
    for segments in by_lens(timeline(evidence).segments):
        for segment, following in pairwise([*segments, None]):
            assert segment is not None
            assert segment.to_on is None or segment.from_on < segment.to_on
            goes_on = following is not None and segment.to_on == following.from_on
            assert (segment.cause is None) is (goes_on or segment.to_on is None)
            if following is not None:
                assert segment.to_on is not None
                assert segment.to_on <= following.from_on
                assert not goes_on or without_days(segment) != without_days(following)


@given(EVIDENCE)
@settings(max_examples=200)
def test_lines_change_no_day_from_the_first_observation_on(evidence: Evidence) -> None:
    # A paid invoice may end a request, and nothing else: what was observed decides, so its MRR is that of the record.
    evidence = evidence._replace(requests=())
    first = evidence.observations[0].on

    def live(segments: tuple[Segment, ...], on: date) -> list[Segment]:
        days = [
            s
            for s in segments
            if s.lens is not Lens.PAID and s.from_on <= on and (s.to_on is None or on < s.to_on)
        ]
        return [segment._replace(from_on=on, to_on=None, basis="", cause=None) for segment in days]

    with_lines = timeline(evidence).segments
    without = timeline(evidence._replace(paid_periods=None)).segments

    for number in range(0, 120, 3):
        on = first + timedelta(number)
        assert live(with_lines, on) == live(without, on)


@given(EVIDENCE, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_order_of_equal_evidence_is_without_effect(evidence: Evidence, chance: Any) -> None:
    shuffled = evidence._replace(
        observations=chance.sample(evidence.observations, len(evidence.observations)),
        requests=chance.sample(evidence.requests, len(evidence.requests)),
    )

    assert timeline(shuffled).segments == timeline(evidence).segments


@given(EVIDENCE)
@settings(max_examples=150)
def test_evidence_that_says_the_same_changes_nothing(evidence: Evidence) -> None:
    repeated = evidence._replace(
        observations=[same for observation in evidence.observations for same in (observation, observation)],
        requests=[same for request in evidence.requests for same in (request, request)],
        currencies={
            customer: [same for value in values for same in (value, value)]
            for customer, values in evidence.currencies.items()
        },
    )

    assert timeline(repeated) == timeline(evidence)


@given(EVIDENCE)
@settings(max_examples=150)
def test_no_day_before_registration_counts(evidence: Evidence) -> None:
    registered_on = evidence.observations[0].registered_on
    first = evidence.observations[0].on
    for segment in timeline(evidence).segments:
        if segment.lens is Lens.PAID:
            continue
        if registered_on is not None and segment.from_on < first:
            assert segment.from_on >= registered_on
        assert evidence.paid_periods or registered_on or segment.from_on >= first

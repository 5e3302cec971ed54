"""Two programs without common code agree: the segments of all observations, and the history that the simulator keeps."""

from collections import defaultdict
from datetime import date, timedelta
from itertools import chain

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.lenses import RECORD_LENSES, Lens
from services.metrics.formulas.evidence import Dated, Evidence, Observation, Request
from services.metrics.formulas.timeline import Segment, timeline
from tests.ideal_reader.distance import items_on, month_ends
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import months_of
from tools.whmcs_simulator.history import Span, true_spans
from tools.whmcs_simulator.life import advance, build_company
from tools.whmcs_simulator.profiles import LIVES, Profile
from tools.whmcs_simulator.records import Subscription
from tools.whmcs_simulator.truth import true_figures

TODAY = date(2026, 11, 24)


def segments_of(subscription: Subscription) -> tuple[Segment, ...]:
    """Return the segments of a subscription that was observed on each day on which it changed."""
    kind = Kind(subscription.kind)
    observations: list[Observation] = []
    requests: list[Request] = []
    currencies: dict[int, list[Dated]] = {}
    for version in subscription.versions:
        on = date.fromordinal(version.day)
        currencies[version.customer_id] = [Dated(on, version.currency)]
        requests.append(Request(on, id=1, is_open=version.cancellation_requested))
        observations.append(
            Observation(
                on=on,
                customer_id=version.customer_id,
                status=version.status.lower().replace(" ", "_"),
                cycle=version.cycle
                if months_of(version.cycle) or version.cycle in ("free", "one_time")
                else "unknown",
                recurring_micros=version.recurring * 10_000,
                registered_on=date.fromordinal(version.registered_on),
                next_due_on=date.fromordinal(version.next_due_on) if version.next_due_on else None,
                product=version.product,
                product_name=None,
                last_read_on=on - timedelta(1),
                renews=version.renews,
            )
        )
    return timeline(Evidence(kind, observations, requests, currencies)).segments


def counted(company: Company) -> dict[tuple[Lens, date, str], list[Segment]]:
    """Return the live segments per lens, day and currency over the last 200 days."""
    days = [date.fromordinal(company.today) - timedelta(days=number) for number in range(200)]
    live: dict[tuple[Lens, date, str], list[Segment]] = defaultdict(list)
    for subscription in chain(company.subscriptions(), company.deleted):
        for segment in segments_of(subscription):
            for on in days:
                if segment.from_on <= on and (segment.to_on is None or on < segment.to_on):
                    live[segment.lens, on, segment.currency].append(segment)
    return live


@pytest.mark.parametrize("profile", LIVES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("lens", RECORD_LENSES)
def test_company_observed_daily_is_true_in_each_month(profile: Profile, lens: Lens) -> None:
    company = build_company(1, 120, 5, TODAY, profile)
    tomorrow = company.today + 1
    ours = [
        Span(
            subscription.kind,
            subscription.id,
            segment.customer_id,
            segment.currency,
            segment.mrr_micros,
            segment.from_on.toordinal(),
            segment.to_on.toordinal() if segment.to_on else tomorrow,
        )
        for subscription in chain(company.subscriptions(), company.deleted)
        for segment in segments_of(subscription)
        if segment.lens is lens
    ]
    truth = true_spans(company, lens.value)

    for on in month_ends(TODAY, 59):
        assert items_on(ours, on.toordinal()) == items_on(truth, on.toordinal()), on
    assert len(truth) > 300


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_daily_observed_company_equals_its_truth_on_every_day(seed: int) -> None:
    company = build_company(seed, 80, 1, TODAY)
    advance(company, 60)

    live = counted(company)

    compared = 0
    for lens in RECORD_LENSES:
        for number in range(200):
            on = date.fromordinal(company.today) - timedelta(days=number)
            truth = true_figures(company, on, lens.value)["currencies"]
            ours = {code: segments for (of, at, code), segments in live.items() if (of, at) == (lens, on)}
            assert {
                code: (
                    sum(s.mrr_micros for s in segments),
                    len({s.customer_id for s in segments}),
                    len(segments),
                )
                for code, segments in ours.items()
            } == {
                code: (figures["mrr_micros"], figures["customers"], figures["subscriptions"])
                for code, figures in truth.items()
            }, (lens, on)
            compared += len(truth)
    assert compared > 1000

"""Two programs without common code agree on how each customer of a simulated life moved."""

from collections import defaultdict
from datetime import date

import pytest

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import MovementKind
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.movements import history_of
from services.metrics.formulas.timeline import Segment
from tests.unit.metrics.lives import segment
from tools.whmcs_simulator.history import Span, movements, true_spans
from tools.whmcs_simulator.life import build_company
from tools.whmcs_simulator.profiles import LIVES, Profile

TODAY = date(2026, 3, 1)
Moved = dict[tuple[int, str, date, str], int]
"""Signed micros by customer, currency, day and kind of movement."""


def as_segment(span: Span) -> Segment:
    to_on = date.fromordinal(span.to_on) if span.to_on <= TODAY.toordinal() else None
    return segment(0, None, span.mrr_micros)._replace(
        lens=Lens.CONTRACT,
        from_on=date.fromordinal(span.from_on),
        to_on=to_on,
        customer_id=span.customer_id,
        currency=span.currency,
    )


def moved_by_product(spans: list[Span]) -> Moved:
    by_item: dict[Subscription, list[Segment]] = defaultdict(list)
    items_of: dict[int, set[Subscription]] = defaultdict(set)
    for span in spans:
        item = Subscription(span.kind, span.id)
        by_item[item].append(as_segment(span))
        items_of[span.customer_id].add(item)
    sums: Moved = defaultdict(int)
    for customer_id, items in items_of.items():
        for row in history_of(customer_id, {item: by_item[item] for item in items}).movements:
            if row.movement is not MovementKind.TRANSFER:
                sums[customer_id, row.currency, row.on, row.movement.value] += row.amount_micros
    return sums


def moved_by_simulator(spans: list[Span]) -> Moved:
    sums: Moved = defaultdict(int)
    for moved in movements(spans, TODAY.toordinal()):
        key = (moved.account.customer_id, moved.account.currency, date.fromordinal(moved.on), moved.kind)
        sums[key] += moved.amount_micros
    return sums


@pytest.mark.parametrize("profile", LIVES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_customers_move_as_the_simulator_says(profile: Profile, seed: int) -> None:
    spans = true_spans(build_company(seed, 250, 5, TODAY, profile))

    expected, actual = moved_by_simulator(spans), moved_by_product(spans)

    differing = [(key, expected.get(key), actual.get(key)) for key in expected.keys() | actual.keys()]
    assert sorted(row for row in differing if row[1] != row[2]) == []
    assert len(expected) > 500

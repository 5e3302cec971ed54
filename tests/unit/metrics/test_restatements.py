"""Restatements add up: what a closed day showed, and all its restatements, give what it shows now."""

from collections import Counter
from collections.abc import Sequence
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import Cause
from libs.common.contracts.restatements import RestatementCause
from services.metrics.formulas.coverage import Days
from services.metrics.formulas.restatements import (
    Place,
    Restatement,
    changes_of,
    stretches_of,
    with_figures,
)
from services.metrics.formulas.timeline import Segment
from tests.unit.metrics.lives import CURRENCIES, DAYS, LENSES, Company, companies, day, segment

KINDS = ("service", "domain")
# The days 5 to 29 are closed.
CLOSED = Days(day(5), day(40), day(30))


def figure(company: Company, place: Place, on: date) -> int:
    return sum(
        segment.mrr_micros
        for item, segments in company.items()
        for segment in segments
        if item.kind == place.kind
        and (segment.lens, segment.currency) == (place.lens, place.currency)
        and segment.from_on <= on
        and (segment.to_on is None or on < segment.to_on)
    )


def restated(before: Company, after: Company, frauds: Sequence[int] = ()) -> list[Restatement]:
    """Return the restatements of a step that replaces one company by another."""
    changes: Counter = Counter()
    for item in sorted(before.keys() | after.keys()):
        is_fraud = item.id in frauds
        changes.update(
            changes_of(item.kind, before.get(item, ()), after.get(item, ()), CLOSED, is_fraud=is_fraud)
        )
    stretches = stretches_of(changes, dict.fromkeys(KINDS, CLOSED))
    figures = {
        (stretch.place, stretch.from_on): figure(after, stretch.place, stretch.from_on)
        for stretch in stretches
    }
    return with_figures(stretches, figures)


@given(companies(), companies(), st.sets(st.integers(0, 4)))
@settings(max_examples=300, deadline=None)
def test_restatements_lead_from_old_to_new_figures(before: Company, after: Company, frauds: set[int]) -> None:
    rows = restated(before, after, sorted(frauds))

    for place in [
        Place(lens, kind, currency) for lens in LENSES for kind in KINDS for currency in CURRENCIES
    ]:
        of_place = [row for row in rows if (row.lens, row.kind, row.currency) == place]
        for on in map(day, range(DAYS)):
            changed = sum(row.change_micros for row in of_place if row.from_on <= on < row.to_on)
            is_closed = CLOSED.first_on <= on < CLOSED.closed_before
            expected = figure(after, place, on) - figure(before, place, on) if is_closed else 0
            assert changed == expected


@given(companies(), companies())
@settings(max_examples=100, deadline=None)
def test_figures_of_causes_chain(before: Company, after: Company) -> None:
    rows = restated(before, after)

    for row in rows:
        place = Place(row.lens, row.kind, row.currency)
        on_its_day = [
            other
            for other in rows
            if (other.lens, other.kind, other.currency) == place
            and other.from_on <= row.from_on < other.to_on
        ]
        earlier = sum(other.change_micros for other in on_its_day if other.cause < row.cause)
        assert row.before_micros == figure(before, place, row.from_on) + earlier
        assert row.after_micros == row.before_micros + row.change_micros


@given(companies())
def test_equal_segments_restate_nothing(company: Company) -> None:
    assert restated(company, company) == []


def test_late_line_of_closed_days_is_one_row() -> None:
    changes = changes_of("service", [segment(10, None, 7)], [segment(8, None, 7)], CLOSED)

    [stretch] = stretches_of(changes, {"service": CLOSED})

    assert (stretch.from_on, stretch.to_on, stretch.change_micros) == (day(8), day(10), 7)


def test_change_of_open_days_is_no_restatement() -> None:
    assert not changes_of("service", [segment(10, None, 7)], [segment(10, 30, 7)], CLOSED)


def test_renamed_product_restates_nothing() -> None:
    assert not changes_of("service", [segment(1, None, 7)], [segment(1, None, 7, product_name="New")], CLOSED)


def test_newly_shown_days_are_no_restatement() -> None:
    assert not changes_of("service", [segment(5, None, 7)], [segment(0, None, 7)], CLOSED)


def test_first_figures_are_no_restatement() -> None:
    assert not changes_of("service", [], [segment(0, None, 7)], None)


@pytest.mark.parametrize(
    ("before", "after", "flags", "cause"),
    [
        ([segment(9, None, 7)], [], {"is_fraud": True}, RestatementCause.FRAUD),
        ([segment(9, None, 7)], [segment(9, 20, 7, cause=Cause.DISAPPEARED)], {}, RestatementCause.DELETION),
        ([segment(9, None, 7)], [segment(9, None, 8, customer_id=2)], {}, RestatementCause.MERGE),
        ([segment(9, None, 7)], [segment(9, None, 8)], {}, RestatementCause.LATE_EVIDENCE),
        (
            [segment(9, None, 7)],
            [segment(9, None, 8)],
            {"is_redefined": True},
            RestatementCause.DEFINITION_CHANGE,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cause_tells_why_days_changed(
    before: list[Segment], after: list[Segment], flags: dict[str, bool], cause: RestatementCause
) -> None:
    assert {change.cause for change in changes_of("service", before, after, CLOSED, **flags)} == {cause}


def test_paid_days_are_closed_once_the_grace_is_over() -> None:
    after = [segment(0, None, 7, lens=Lens.PAID)]

    changes = changes_of("service", [segment(17, None, 7, lens=Lens.PAID)], after, CLOSED)
    later = changes_of("service", [segment(16, None, 7, lens=Lens.PAID)], after, CLOSED)

    # The grace of 14 days keeps the days from the 16th on open.
    [stretch] = stretches_of(changes, {"service": CLOSED})
    assert (stretch.from_on, stretch.to_on, stretch.change_micros) == (day(5), day(16), 7)
    assert stretches_of(later, {"service": CLOSED}) == [stretch]

"""Segments have the dimensions of their own days: a change of one ends a segment and starts another."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.lenses import Lens
from services.metrics.formulas.evidence import Dated
from services.metrics.formulas.timeline import Segment
from tests.unit.metrics.timelines import CUSTOMER, OTHER, contract, day, line, live_on, seen


def at(segments: list[Segment], name: str) -> list[tuple[Any, Any, Any]]:
    return [(segment.from_on, segment.to_on, getattr(segment, name)) for segment in segments]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("quantity", 1, 3), ("promotion_id", None, 5), ("payment_method", "stripe", "paypal")],
)
def test_changed_value_of_a_subscription_starts_a_segment(name: str, before: Any, after: Any) -> None:
    result = line(seen(0, **{name: before}), seen(4, **{name: after}))

    assert at(contract(result), name) == [(day(0), day(4), before), (day(4), day(35), after)]
    assert {segment.mrr_micros for segment in result.segments} == {10_000_000}


@pytest.mark.parametrize(
    ("evidence", "name", "key"),
    [
        ("countries", "country", CUSTOMER),
        ("customer_groups", "customer_group", CUSTOMER),
        ("product_groups", "product_group", "service:1"),
    ],
)
def test_value_of_a_customer_or_product_is_that_of_its_days(evidence: str, name: str, key: Any) -> None:
    values = {key: [Dated(day(1), "a"), Dated(day(6), "b"), Dated(day(7), "b"), Dated(day(9), "a")]}

    result = line(seen(0), **{evidence: values})

    assert at(contract(result), name) == [
        (day(0), day(6), "a"),
        (day(6), day(9), "b"),
        (day(9), day(35), "a"),
    ]


def test_values_of_others_change_nothing() -> None:
    others = [Dated(day(1), "a"), Dated(day(6), "b")]

    result = line(seen(0), countries={OTHER: others}, product_groups={"service:2": others})

    assert result == line(seen(0))


def test_moved_subscription_has_the_country_of_its_customer() -> None:
    countries = {CUSTOMER: [Dated(day(0), "DE")], OTHER: [Dated(day(0), "FR"), Dated(day(6), "ES")]}

    result = line(seen(0), seen(4, customer_id=OTHER), countries=countries)

    assert [live_on(result, day(number))[0].country for number in (3, 4, 5, 6)] == ["DE", "FR", "FR", "ES"]


def test_customer_that_changes_currency_starts_a_segment() -> None:
    dated = [Dated(day(0), "EUR"), Dated(day(6), "GBP")]

    result = line(seen(0), currencies={CUSTOMER: dated})

    assert at(contract(result), "currency") == [(day(0), day(6), "EUR"), (day(6), day(35), "GBP")]


_DATED = st.lists(
    st.builds(Dated, st.integers(-5, 40).map(day), st.sampled_from(["a", "b", None])), max_size=5
).map(lambda values: sorted(values, key=lambda value: value.on))


@given(_DATED, _DATED)
def test_dimensions_change_no_amount_of_a_day(countries: list[Dated], groups: list[Dated]) -> None:
    observations = [seen(0), seen(5, recurring_micros=12_000_000), seen(9, status="suspended")]
    plain = line(*observations)

    result = line(*observations, countries={CUSTOMER: countries}, customer_groups={CUSTOMER: groups})

    for lens in Lens:
        for number in range(50):
            on = day(number)
            assert [s.mrr_micros for s in live_on(result, on, lens)] == [
                s.mrr_micros for s in live_on(plain, on, lens)
            ]
            until_then = [value for value in countries if value.on <= on] or countries[:1]
            for segment in live_on(result, on, lens):
                assert segment.country == (until_then[-1].value if until_then else None)

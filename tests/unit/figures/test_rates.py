"""By which rates amounts are converted."""

from datetime import date, timedelta
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.figures.errors import QuestionError
from libs.common.figures.rates import REPORTING, Conversion, Fx, Rates, SeenRate, Target, rates_of

OLDER, NEWER = UUID(int=1), UUID(int=2)
DAY = timedelta(days=1)
ON = date(2026, 3, 1)
TODAY = ON + 30 * DAY


def seen(code: str, rate: str, on: date = ON, instance: UUID = OLDER, id: int = 2) -> SeenRate:
    return SeenRate(instance, id, code, on, Fraction(rate), is_default=id == 1)


def rates(*rows: SeenRate, reporting: str | None = None) -> Rates:
    return rates_of([OLDER, NEWER], rows, reporting)


def factor(conversion: Conversion, code: str, on: date = ON, instance: UUID = OLDER) -> Fraction:
    return conversion.pairs[instance, code].factors.on(on)


EUR = seen("EUR", "1.00000", id=1)


def test_amount_is_divided_by_the_rate_of_its_currency() -> None:
    into_eur = rates(EUR, seen("USD", "1.25")).conversion(Target("EUR"), TODAY)

    assert factor(into_eur, "USD") == Fraction(4, 5)
    assert factor(into_eur, "EUR") == 1


def test_two_other_currencies_are_converted_over_the_default() -> None:
    stored = rates(EUR, seen("USD", "1.25"), seen("JPY", "160", id=3))

    assert factor(stored.conversion(Target("JPY"), TODAY), "USD") == 128


def test_first_rate_holds_on_earlier_days() -> None:
    into_eur = rates(EUR, seen("USD", "1.25"), seen("USD", "2", ON + 5 * DAY)).conversion(
        Target("EUR"), TODAY
    )

    days = [date.min, ON, ON + 4 * DAY, ON + 5 * DAY, date.max]
    assert [factor(into_eur, "USD", on) for on in days] == [Fraction(4, 5)] * 3 + [Fraction(1, 2)] * 2
    assert into_eur.change_days(ON, ON + 5 * DAY) == (ON + 5 * DAY,)
    assert into_eur.change_days(ON + 5 * DAY, TODAY) == ()


def test_last_rate_of_a_day_holds() -> None:
    into_eur = rates(EUR, seen("USD", "1.25"), seen("USD", "2")).conversion(Target("EUR"), TODAY)

    assert factor(into_eur, "USD") == Fraction(1, 2)


def test_constant_rates_are_those_of_the_newest_day() -> None:
    stored = rates(EUR, seen("USD", "1.25"), seen("USD", "2", TODAY), seen("USD", "4", TODAY + DAY))

    constant = stored.conversion(Target("EUR", Fx.CONSTANT), TODAY)

    assert [factor(constant, "USD", on) for on in (ON, TODAY, TODAY + DAY)] == [Fraction(1, 2)] * 3
    assert [used.since for used in constant.used(ON)] == [TODAY, TODAY]


def test_instance_converts_by_its_own_rates() -> None:
    stored = rates(
        EUR,
        seen("USD", "1.25"),
        seen("USD", "1", instance=NEWER, id=1),
        seen("EUR", "0.5", instance=NEWER),
    )

    into_eur = stored.conversion(Target("EUR"), TODAY)

    assert factor(into_eur, "USD") == Fraction(4, 5)
    assert factor(into_eur, "USD", instance=NEWER) == Fraction(1, 2)
    assert {(used.instance_id, used.by) for used in into_eur.used(ON)} == {(OLDER, OLDER), (NEWER, NEWER)}


def test_instance_without_a_rate_uses_that_of_the_oldest() -> None:
    stored = rates(EUR, seen("USD", "1.25"), seen("USD", "1", instance=NEWER, id=1))

    into_eur = stored.conversion(Target("EUR"), TODAY)

    assert factor(into_eur, "USD", instance=NEWER) == Fraction(4, 5)
    assert into_eur.pairs[NEWER, "USD"].by == OLDER


def test_missing_rate_is_never_1() -> None:
    into_eur = rates(EUR, seen("GBP", "1", instance=NEWER, id=1)).conversion(Target("EUR"), TODAY)

    assert (NEWER, "GBP") not in into_eur.pairs
    assert factor(into_eur, "EUR", instance=NEWER) == 1


def test_reporting_currency_is_that_of_the_oldest_instance() -> None:
    stored = (seen("USD", "1", instance=NEWER, id=1), seen("EUR", "1", id=3), seen("GBP", "0.8"))

    assert rates(*stored).reporting_currency == "EUR"
    assert rates(*stored).conversion(Target(REPORTING), TODAY).currency == "EUR"
    assert rates(*stored, reporting="USD").conversion(Target(REPORTING), TODAY).currency == "USD"
    assert rates().reporting_currency is None


def test_first_of_two_currencies_with_rate_1_is_the_default() -> None:
    assert rates(seen("PAB", "1", id=3), seen("USD", "1", id=2)).reporting_currency == "USD"
    assert rates(seen("PAB", "1", id=3), seen("USD", "1", id=1)).reporting_currency == "USD"


def test_default_currency_is_that_of_today() -> None:
    stored = rates(EUR, seen("USD", "1.25"), seen("EUR", "0.8", TODAY, id=1), seen("USD", "1", TODAY))

    assert stored.reporting_currency == "USD"


@pytest.mark.parametrize("code", ["GBP", "eur", "", REPORTING])
def test_currency_without_a_rate_is_refused(code: str) -> None:
    stored = rates() if code == REPORTING else rates(EUR)

    with pytest.raises(QuestionError) as refused:
        stored.conversion(Target(code), TODAY)

    assert (refused.value.code, refused.value.field) == ("currency_unknown", "currency")
    assert ("EUR" in str(refused.value)) is (code != REPORTING)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["EUR", "USD", "JPY"]),
            st.integers(0, 9),
            st.fractions(min_value="1/9999", max_value=9999),
        ),
        min_size=1,
    ),
    st.integers(-2, 12),
)
def test_forth_and_back_is_the_same_amount(rows: list[tuple[str, int, Fraction]], number: int) -> None:
    ids = {"EUR": 1, "USD": 2, "JPY": 3}
    stored = rates(*(seen(code, str(rate), ON + day * DAY, id=ids[code]) for code, day, rate in rows))
    on = ON + number * DAY

    for code in stored.currencies:
        for other in stored.currencies:
            forth = factor(stored.conversion(Target(other), TODAY), code, on)
            back = factor(stored.conversion(Target(code), TODAY), other, on)
            assert forth * back == 1

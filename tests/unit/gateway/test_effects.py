"""The effect of a sync on MRR."""

from services.gateway.syncs.effects import NoEffect, effect_of


def test_effect_is_the_change_of_each_currency() -> None:
    before = {"EUR": 10_000_000, "GBP": 5_000_000, "USD": 7_000_000}
    after = {"EUR": 12_500_001, "GBP": 5_000_000, "JPY": 3_000_000}

    assert effect_of(before, after) == (
        {"EUR": "2.500001", "JPY": "3.000000", "USD": "-7.000000"},
        None,
    )


def test_first_run_has_no_effect() -> None:
    assert effect_of(None, {"EUR": 1}) == (None, NoEffect.FIRST_SYNC)


def test_run_without_a_difference_changes_nothing() -> None:
    assert effect_of({"EUR": 1}, {"EUR": 1}) == ({}, None)

"""Values of WHMCS rows: what each rule accepts, in every form in which WHMCS writes it."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connector.whmcs import dates, fields

NO_DAY = (
    "0000-00-00", "0000-00-00 00:00:00", "00/00/0000", "00-00-0000", "00.00.0000 00:00", "0000/00/00", "-0001-11-30",
    "-0001-11-30 00:00:00", "-0001-11-16", "30/11/-0001", "1969-12-31", "1970-01-01", "1970-01-01 00:00:00",
    "0000-01-01", "", " ", None, 0,
)  # fmt: skip


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_money_is_exact_in_micros(amount: Decimal) -> None:
    assert fields.micros(str(amount)) == amount * 1_000_000


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("12.95", 12_950_000),
        ("-1.00", -1_000_000),
        (" 7 ", 7_000_000),
        (7, 7_000_000),
        (0.1, 100_000),
        ("0.0000005", 0),
        ("1e2", 100_000_000),
        ("1,234.56", 1_234_560_000),
        ("1.234,56", 1_234_560_000),
        ("1,234,567.8", 1_234_567_800_000),
        ("1,234,567", 1_234_567_000_000),
        ("1.234.567,89", 1_234_567_890_000),
        ("12,95", 12_950_000),
        ("-12,5", -12_500_000),
    ],
)
def test_amount_is_read_in_every_unambiguous_form(text: Any, micros: int) -> None:
    assert fields.micros(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        "N/A",
        "1,234",
        "12,95.00",
        "1,23.45",
        "1.2.3",
        "nan",
        "inf",
        "1e400",
        "1_000",
        "$5",
        None,
        True,
        "٣",
        "9" * 30,
        "9" * 70,
        "0" * 60 + "5e-11",
        "--1",
        "1,2345",
    ],
)
def test_text_that_is_no_amount_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match=r"^is "):
        fields.micros(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.00000", "1.00000"),
        ("0.00000050", "0.00000050"),
        (5e-07, "0.0000005"),
        ("1E+3", "1000"),
        (21, "21"),
        ("", "0"),
        (None, "0"),
    ],
)
def test_decimal_never_has_an_exponent(value: Any, text: str) -> None:
    assert fields.decimal(value) == text


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e300", "1e999", 1e300, "0." + "1" * 21, "1,5", "x"])
def test_decimal_that_nobody_can_store_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^(is no number|has too many digits)$"):
        fields.decimal(value)


@pytest.mark.parametrize("value", ["0.00000", "-1", "", None])
def test_rate_is_above_zero(value: Any) -> None:
    with pytest.raises(ValueError, match="is not above 0"):
        fields.rate(value)


@pytest.mark.parametrize(
    ("value", "number"), [("1.00", 1), ("3", 3), (2, 2), ("", 1), (None, 1), ("0.00", 1)]
)
def test_quantity_is_at_least_one(value: Any, number: int) -> None:
    assert fields.quantity(value) == number


@pytest.mark.parametrize("value", ["1.5", "-2", "many"])
def test_quantity_that_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is no"):
        fields.quantity(value)


@pytest.mark.parametrize("nothing", ["0", 0, "", None, "0.00", 0.0, [], {}, -1, "-1", False])
def test_value_that_php_finds_empty_refers_to_nothing(nothing: Any) -> None:
    assert fields.reference(nothing) is None


@pytest.mark.parametrize(("value", "number"), [(7, 7), ("7", 7), (" 7 ", 7), ("007", 7), (7.0, 7)])
def test_id_is_read_as_number_and_as_text(value: Any, number: int) -> None:
    assert fields.row_id(value) == fields.reference(value) == number


@pytest.mark.parametrize(
    "value", [0, -7, "-7", "7.5", 7.5, True, None, "", "x", "٣", "1_0", 2**63, "9" * 5000, [7], float("nan")]
)
def test_value_that_is_no_id_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is not the number of a row"):
        fields.row_id(value)


@pytest.mark.parametrize("value", NO_DAY)
@pytest.mark.parametrize("read", [dates.day, dates.due_day, dates.moment], ids=["day", "due_day", "moment"])
def test_zero_date_in_any_form_is_none(read: Callable[[object], Any], value: Any) -> None:
    assert read(value) is None


@pytest.mark.parametrize("value", ["20261124", "2026-W48-2", "2026-W48", "２０２６-11-24"])  # noqa: RUF001
@pytest.mark.parametrize("read", [dates.day, dates.due_day], ids=["day", "due_day"])
def test_day_in_no_format_of_whmcs_is_refused(read: Callable[[object], Any], value: str) -> None:
    with pytest.raises(ValueError, match="is no date"):
        read(value)


@pytest.mark.parametrize(
    "value", ["2026-02-31", "2026-13-01", "31/12/2026", "tomorrow", "0001-01-01", "1926-01-01", "N/A", True]
)
@pytest.mark.parametrize("read", [dates.day, dates.due_day, dates.moment], ids=["day", "due_day", "moment"])
def test_day_that_does_not_exist_is_refused(read: Callable[[object], Any], value: Any) -> None:
    with pytest.raises(ValueError, match=r"^is no (plausible )?date$"):
        read(value)


def test_due_date_without_end_is_kept_and_others_are_none() -> None:
    assert dates.due_day("9999-12-31") == date(9999, 12, 31)
    assert dates.due_day("2999-01-01") == date(2999, 1, 1)
    assert dates.day("9999-12-31") is None
    assert dates.moment("9999-12-31 23:59:59") is None
    with pytest.raises(ValueError, match="plausible"):
        dates.day("2999-01-01")


def test_moment_is_local_and_without_an_offset() -> None:
    at = datetime.fromisoformat("2026-03-29 02:30:00")
    assert dates.moment("2026-03-29 02:30:00") == at
    assert dates.moment("2026-03-29T02:30:00+02:00") == at
    assert dates.moment("2026-03-29") == at.replace(hour=0, minute=0)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("Transferred Away", "transferred_away"),
        ("Grace Period (Expired)", "grace"),
        (" Active ", "active"),
        ("", "unknown"),
        (None, "unknown"),
        ("Payment Pending", "payment_pending"),
        ("s" * 60, "s" * 60),
    ],
)
def test_status_is_in_lower_case_with_underscores(value: Any, status: str) -> None:
    assert fields.status(value) == status


@pytest.mark.parametrize("value", ["s" * 61, "a\0b", "a\ud800", "a\nb", [], {"a": 1}])
def test_status_that_nobody_can_store_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        fields.status(value)


@pytest.mark.parametrize(
    ("value", "cycle"),
    [
        ("Semi-Annually", "semiannually"),
        ("One Time", "one_time"),
        ("Free Account", "free"),
        ("Fortnightly", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
        (1.5, "unknown"),
        ("x" * 1000, "unknown"),
    ],
)
def test_cycle_that_whmcs_does_not_document_is_unknown(value: Any, cycle: str) -> None:
    assert fields.cycle(value) == cycle


@pytest.mark.parametrize(
    ("value", "cycle"),
    [
        ("1", "years_1"),
        (10, "years_10"),
        ("2.00", "years_2"),
        ("0", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
        ("100", "unknown"),
        ("-1", "unknown"),
        ("1.5", "unknown"),
        ("x", "unknown"),
    ],
)
def test_domain_without_a_period_has_an_unknown_cycle(value: Any, cycle: str) -> None:
    assert fields.years(value) == cycle


def test_text_is_unescaped_once_and_can_be_stored() -> None:
    assert fields.text("R&amp;amp;D &lt;b&gt;") == "R&amp;D <b>"
    assert fields.text(" a\0b\ud800c\nd ") == "abc\nd"
    assert fields.text("é" * 600) == "é" * 500
    assert fields.text([]) is None
    with pytest.raises(ValueError, match="is no text"):
        fields.text({"a": 1})


def test_shortened_names_never_become_equal() -> None:
    assert fields.name("n" * 499) == "n" * 499
    shortened = [fields.name("n" * 500), fields.name("n" * 501), fields.name("n" * 700)]
    assert {len(name or "") for name in shortened} == {500}
    # A text that is like the short form of another one is not taken for it.
    assert len({*shortened, *map(fields.name, shortened)}) == 2 * len(shortened)
    assert fields.host_name("EXAMPLE.Org") == "example.org"


@pytest.mark.parametrize("value", ["Germany", "D1", "éé", "deu"])
def test_country_is_two_letters_or_unreadable(value: str) -> None:
    assert fields.country("de") == "DE"
    with pytest.raises(ValueError, match="is no code of a country"):
        fields.country(value)

"""Promotions: a recurring one lowers the MRR of the periods that have it, a one-off one lowers none."""

from datetime import date
from itertools import pairwise

import pytest

from libs.common.contracts.money import parse_micros as micros
from tests.lines import ADDON, DOMAIN, hosting, invoice, item, line, only, period, periods, promotion

JAN, FEB, MAR, APR, MAY = (date(2026, month, 1) for month in (1, 2, 3, 4, 5))


def test_recurring_promotion_lowers_the_mrr() -> None:
    assert only(invoice(1, JAN, hosting(10, JAN, FEB), promotion(-2, "FOREVER"))).mrr_micros == micros(8)


def test_one_off_promotion_changes_no_mrr() -> None:
    assert only(invoice(1, JAN, hosting(10, JAN, FEB), promotion(-2, "WELCOME"))).mrr_micros == micros(10)


def test_recurring_promotion_of_the_whole_price_leaves_zero() -> None:
    free = invoice(1, JAN, hosting(10, JAN, FEB), promotion(-10, "FOREVER"))

    assert only(free).mrr_micros == 0


def test_one_off_promotion_of_the_whole_price_leaves_the_price() -> None:
    free = invoice(1, JAN, hosting(10, JAN, FEB), promotion(-10, "WELCOME"))

    assert only(free).mrr_micros == micros(10)


def test_end_of_a_limited_promotion_is_dated_by_its_lines() -> None:
    days = [JAN, FEB, MAR, APR, MAY]
    bills = [
        invoice(id_, from_on, hosting(10, from_on, to_on), *([promotion(-2, "FOREVER")] if id_ <= 3 else []))
        for id_, (from_on, to_on) in enumerate(pairwise(days), start=1)
    ]

    assert [paid.mrr_micros for paid in periods(*bills)] == [micros(amount) for amount in (8, 8, 8, 10)]


@pytest.mark.parametrize(
    ("code", "amount"),
    [("OLD - 20% Recurring Discount", 8), ("OLD - 20% One Time Discount", 10)],
)
def test_words_tell_of_a_promotion_that_was_deleted(code: str, amount: int) -> None:
    assert only(invoice(1, JAN, hosting(10, JAN, FEB), promotion(-2, code))).mrr_micros == micros(amount)


def test_second_discount_shows_that_a_deleted_promotion_recurs() -> None:
    bills = [
        invoice(1, JAN, hosting(10, JAN, FEB), promotion(-2, "OLD")),
        invoice(2, FEB, hosting(10, FEB, MAR), promotion(-2, "OLD")),
    ]

    assert [paid.mrr_micros for paid in periods(*bills)] == [micros(8), micros(8)]


def test_record_shows_that_a_deleted_promotion_recurs() -> None:
    bill = invoice(1, JAN, hosting(10, JAN, FEB), promotion(-2, "OLD"))

    assert only(bill, items=[item(amount=8)]).mrr_micros == micros(8)
    assert only(bill, items=[item(amount=10)]).mrr_micros == micros(10)
    assert only(bill, items=[]).mrr_micros == micros(10)


def test_promotion_reduces_only_its_service() -> None:
    both = invoice(
        1,
        JAN,
        hosting(10, JAN, FEB),
        hosting(10, JAN, FEB, related_id=2),
        promotion(-2, "FOREVER", related_id=2),
    )

    assert only(both).mrr_micros == micros(10)


def test_promotion_reduces_an_addon_where_no_service_has_the_id() -> None:
    addon = line("Addon", 10, f"Backups{period(JAN, FEB)}")

    assert only(invoice(1, JAN, addon, promotion(-2, "FOREVER")), subscription=ADDON).mrr_micros == micros(8)


def test_promotion_of_domains_reduces_a_domain() -> None:
    renewal = line("Domain", 12, f"Domain Renewal - example.com - 1 Year/s{period(JAN, date(2027, 1, 1))}")
    discount = line("PromoDomain", -6, "Promotional Code: FOREVER")

    assert only(invoice(1, JAN, renewal, discount), subscription=DOMAIN).mrr_micros == micros("0.50")


def test_promotion_of_a_merged_invoice_reduces_its_line() -> None:
    merged = invoice(
        1,
        JAN,
        hosting(10, JAN, FEB),
        promotion(-2, "FOREVER"),
        hosting(10, FEB, MAR),
        promotion(-3, "FOREVER"),
    )

    assert [paid.mrr_micros for paid in periods(merged)] == [micros(8), micros(7)]


def test_promotion_without_its_line_is_left_out() -> None:
    alone = invoice(2, FEB, promotion(-2, "FOREVER"))

    assert only(invoice(1, JAN, hosting(10, JAN, FEB)), alone).mrr_micros == micros(10)


def test_promotion_on_a_line_that_is_not_offered_is_left_out() -> None:
    assert periods(invoice(1, JAN, hosting(-1, JAN, FEB), promotion(-2, "FOREVER"))) == ()

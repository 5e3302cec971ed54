"""Two programs without common code agree on what the invoices of simulated lives paid for: the product and the ideal reader."""

import json
from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import pytest

from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind
from libs.common.contracts.instances import InstanceSettings
from services.connector.whmcs.entities import INVOICE_LINES, LIST_OF
from services.connector.whmcs.translate import translate_row
from services.metrics.formulas.date_formats import counts_of, order_of
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.invoices import Invoice, Item, Line, LineRules, PaidPeriod, Payment
from services.metrics.formulas.paid_periods import PaidPeriods, paid_periods
from services.metrics.formulas.seen import item_of
from tests.ideal_reader.periods import Period, periods_of, whole_months
from tests.ideal_reader.shown import Shown, read
from tools.whmcs_simulator.answers import Answers
from tools.whmcs_simulator.life import build_company
from tools.whmcs_simulator.profiles import LIVES, Profile

TODAY = date(2026, 11, 24)


class Life(NamedTuple):
    """What one simulated company shows to both programs, and what the product makes of it."""

    shown: Shown
    paid: PaidPeriods
    true_upgrades: frozenset[tuple[date, int]]

    @property
    def upgrades(self) -> set[tuple[date, int]]:
        """Return the days and services of the upgrades that the product found."""
        return {
            (period.from_on, subscription.id)
            for subscription, periods in self.paid.of_subscription.items()
            for period in periods
            if period.change is not None
        }


@cache
def life(profile: Profile, seed: int) -> Life:
    company = build_company(seed, 120, 4, TODAY, profile)
    answers = Answers(company, "numbers")
    bodies = {
        kind: listed(answers, kind)
        for kind in (*SUBSCRIPTION_KINDS, Kind.INVOICE, Kind.PRODUCT, Kind.PROMOTION)
    }
    invoices = [invoice(header, lines_of(answers, header["id"])) for header in bodies[Kind.INVOICE]]
    items = [item(body) for kind in SUBSCRIPTION_KINDS for body in bodies[kind]]
    rules = LineRules(
        date_order=order_of(counts_of(line.description for bill in invoices for line in bill.lines or ())),
        promotions={body["code"]: body["recurring"] for body in bodies[Kind.PROMOTION]},
        products={body["name"]: f"service:{body['id']}" for body in bodies[Kind.PRODUCT]},
    )
    true_upgrades = frozenset(
        (bill.paid_on, company.upgrades[row.related_id].service_id)
        for bill in invoices
        for row in bill.lines or ()
        if row.type == "Upgrade" and bill.paid_on is not None and row.related_id is not None
    )
    return Life(read(company), paid_periods(invoices, items, rules), true_upgrades)


def listed(answers: Answers, kind: Kind) -> list[dict[str, Any]]:
    """Return the facts of a kind as the connector makes them of a whole list."""
    action = LIST_OF[kind]
    body = answers.answer({"action": action.action, "limitnum": "1000000"})
    rows = (body.get(action.plural) or {}).get(action.singular, [])
    return [translate_row(action, row, InstanceSettings()).content for row in rows]


def lines_of(answers: Answers, invoice_id: int) -> dict[str, Any]:
    body = answers.answer({"action": INVOICE_LINES.action, "invoiceid": str(invoice_id)})
    return translate_row(INVOICE_LINES, body, InstanceSettings()).content


def invoice(header: dict[str, Any], details: dict[str, Any]) -> Invoice:
    copied = ("id", "customer_id", "currency", "status", "issued_on", "due_on")
    amounts = ("subtotal_micros", "credit_micros", "tax_micros", "tax2_micros", "total_micros")
    moments = {f"{name}_on": header[f"{name}_at"] for name in ("paid", "refunded", "cancelled")}
    return Invoice(
        **{name: header[name] for name in (*copied, *amounts)},
        **{name: at.date() if at else None for name, at in moments.items()},
        tax_rate=Fraction(header["tax_rate"]),
        tax_rate2=Fraction(header["tax_rate2"]),
        lines=tuple(
            Line(
                row["id"],
                row["type"],
                row["related_id"],
                row["description"],
                row["amount_micros"],
                row["taxed"],
            )
            for row in details["lines"]
        ),
        payments=tuple(
            Payment(row["on"], row["in_micros"], row["out_micros"]) for row in details["payments"]
        ),
    )


def item(body: dict[str, Any]) -> Item:
    return item_of(body["kind"], json.loads(json.dumps(body, default=str)))


def is_same(period: PaidPeriod, expected: Period) -> bool:
    """Return whether both say the same. The ideal reader scales a part of a cycle without looking for its price."""
    if (period.from_on, period.to_on) != (expected.from_on, expected.until):
        return False
    if whole_months(expected.from_on, expected.until):
        return period.mrr_micros == expected.mrr_micros
    return abs(period.mrr_micros - expected.mrr_micros) <= expected.mrr_micros // 100


def same_periods(periods: Sequence[PaidPeriod], expected: Sequence[Period]) -> bool:
    return len(periods) == len(expected) and all(map(is_same, periods, expected))


@pytest.mark.parametrize("profile", LIVES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_paid_periods_are_those_of_the_ideal_reader(profile: Profile, seed: int) -> None:
    shown, paid, _ = life(profile, seed)
    upgraded = {("service", service_id) for _, service_id in life(profile, seed).upgrades}

    different = [
        key
        for key in shown.billed
        if key not in upgraded
        and not same_periods(paid.of_subscription.get(Subscription(*key), ()), periods_of(shown, key))
    ]

    assert len(shown.billed) > 250
    assert different == []


@pytest.mark.parametrize("profile", LIVES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_upgrades_of_lives_are_true(profile: Profile, seed: int) -> None:
    of_life = life(profile, seed)

    assert of_life.upgrades <= of_life.true_upgrades
    # A downgrade without a line hides what the service was before some of the others.
    assert len(of_life.upgrades) >= len(of_life.true_upgrades) * 0.8 > 3

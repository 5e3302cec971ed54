"""Paid MRR of a simulated company is what its invoices say, line by line as the simulator wrote them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from typing import NamedTuple

import pytest

from libs.common.contracts.gaps import GapPart
from libs.common.contracts.lenses import GRACE_DAYS
from services.metrics.formulas.months import whole_months
from tests.history.product import sync
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_history import FIGURES, published, two_customers
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.life import build_company
from tools.whmcs_simulator.records import SECONDS_OF_A_DAY, Invoice, Line
from tools.whmcs_simulator.truth import is_fraud, mrr_micros

TODAY = date(2026, 11, 24)
KINDS = {"Hosting": "service", "Addon": "addon"} | dict.fromkeys(
    ("Domain", "DomainRegister", "DomainTransfer"), "domain"
)
PAID = """
SELECT kind, id, mrr_micros, from_on, coalesce(to_on, 'infinity') FROM metrics_read.segments WHERE lens = 'paid'"""
# The changes of each customer and product on each day: by contract, less paid, less what the gaps say.
UNEXPLAINED = """
WITH change AS (
    SELECT customer_id, currency, product, "on", CASE lens WHEN 'contract' THEN mrr_micros ELSE -mrr_micros END AS micros
    FROM metrics_read.ledger WHERE lens IN ('contract', 'paid')
    UNION ALL SELECT customer_id, currency, product, from_on, -gap_micros FROM metrics_read.gaps
    UNION ALL SELECT customer_id, currency, product, to_on, gap_micros FROM metrics_read.gaps WHERE to_on IS NOT NULL)
SELECT customer_id, product, "on", sum(micros) FROM change GROUP BY customer_id, currency, product, "on" HAVING sum(micros) <> 0"""
EXPLAINED = "SELECT count(DISTINCT from_on), count(DISTINCT part) FROM metrics_read.gaps"
HAS_PAID = "SELECT has_paid FROM metrics_read.history"
CYCLES = {
    1: "monthly",
    3: "quarterly",
    6: "semiannually",
    12: "annually",
    24: "biennially",
    36: "triennially",
}

Key = tuple[str, int]


class Written(NamedTuple):
    """A paid line: it pays the days [from_on, to_on) and counts from a day on. `mrr` is None for a part of a cycle."""

    from_on: int
    to_on: int
    counts_from: int
    order: tuple[bool, int, int]
    mrr: int | None


def paid_lines(company: Company) -> dict[Key, list[Written]]:
    """Return the paid lines of each subscription that ever paid, without those that turned out to be fraud."""
    lines: dict[Key, list[Written]] = defaultdict(list)
    for invoice in company.invoices.values():
        if invoice.status not in ("Paid", "Refunded", "Collections") or not invoice.paid_at:
            continue
        for line in invoice.lines:
            if line.type in KINDS and line.period_from:
                lines[KINDS[line.type], line.related_id].append(written(company, invoice, line))
    frauds = {(row.kind, row.id) for row in (*company.subscriptions(), *company.deleted) if is_fraud(row)}
    return {key: of_key for key, of_key in lines.items() if key not in frauds}


def written(company: Company, invoice: Invoice, line: Line) -> Written:
    paid_on, to_on = day_of(invoice.paid_at), line.period_to + 1
    months = whole_months(date.fromordinal(line.period_from), date.fromordinal(to_on))
    amount = line.amount + sum(
        other.amount
        for other in invoice.lines
        if other.type.startswith("Promo")
        and other.related_id == line.related_id
        and is_lasting(company, other)
    )
    cycle = CYCLES.get(months or 0) or f"years_{(months or 0) // 12}"
    returned_on = day_of_return(company, invoice)
    return Written(
        line.period_from,
        to_on if returned_on is None else min(to_on, returned_on),
        paid_on if paid_on > line.period_from + GRACE_DAYS else line.period_from,
        (returned_on is None, invoice.id, line.id),
        mrr_micros(amount, cycle) if months else None,
    )


def day_of_return(company: Company, invoice: Invoice) -> int | None:
    """Return the day on which all of an invoice was refunded, or taken back by the bank."""
    if invoice.refunded_at:
        return day_of(invoice.refunded_at)
    moves = [company.transactions[id_] for id_ in invoice.transactions]
    if not moves or invoice.credit or sum(move.amount_out - move.amount_in for move in moves) < 0:
        return None
    return max(day_of(move.at) for move in moves)


def is_lasting(company: Company, line: Line) -> bool:
    codes = {promotion.code: promotion.recurring for promotion in company.catalogue.promotions.values()}
    return codes[line.text.removeprefix("Promotional Code: ")]


def day_of(moment: int) -> int:
    return moment // SECONDS_OF_A_DAY


def paid_on(lines: Iterable[Written], on: int) -> int:
    """Return the MRR of the line that was written last for a day, 0 without one."""
    covering = [line for line in lines if line.counts_from <= on < line.to_on]
    newest = max(covering, key=lambda line: line.order, default=None)
    return newest.mrr or 0 if newest else 0


def days(count: int) -> Iterator[date]:
    yield from (date.fromordinal(TODAY.toordinal() - 17 * number) for number in range(count))


@pytest.mark.parametrize("seed", [1, 2])
async def test_paid_mrr_is_that_of_the_lines_as_written(tables: Tables, seed: int) -> None:
    company = build_company(seed, 100, 3, TODAY)
    await sync(tables, company, {}, epoch=1)
    await tables.compute()
    lines = paid_lines(company)
    upgraded = {("service", upgrade.service_id) for upgrade in company.upgrades.values()}
    exact = {
        key
        for key, of_key in lines.items()
        if key not in upgraded and all(line.mrr is not None for line in of_key)
    }

    segments = await tables.ask_as_gateway(PAID)
    compared = 0
    for on in days(80):
        shown = {
            (kind, id_): micros for kind, id_, micros, from_on, to_on in segments if from_on <= on < to_on
        }
        truth = {key: micros for key in exact if (micros := paid_on(lines[key], on.toordinal()))}
        assert {key: micros for key, micros in shown.items() if key in exact} == truth, on
        assert shown.keys() <= lines.keys()
        compared += len(truth)

    assert len(exact) > 0.8 * len(lines)
    assert compared > 4_000


async def test_gaps_explain_contract_less_paid_to_the_micro(tables: Tables) -> None:
    company = build_company(3, 80, 3, TODAY)
    await sync(tables, company, {}, epoch=1)
    await tables.compute()

    [(days, parts)] = await tables.ask_as_gateway(EXPLAINED)

    assert parts >= len(GapPart) - 1
    assert days > 30
    assert await tables.ask_as_gateway(UNEXPLAINED) == []


async def test_history_without_paid_days_is_computed_again(tables: Tables) -> None:
    """The release before published it without the lens `paid`."""
    await published(tables, two_customers())
    before = await tables.content(*FIGURES)
    await tables.execute("UPDATE metrics.history SET has_paid = false")
    await tables.execute("DELETE FROM metrics.segments WHERE lens = 'paid'")
    without = await tables.ask_as_gateway(HAS_PAID)

    await tables.compute()

    assert (without, await tables.ask_as_gateway(HAS_PAID)) == ([(False,)], [(True,)])
    assert await tables.content(*FIGURES) == before

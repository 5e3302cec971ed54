"""Rows of a company that is dirty in every way lose no more than each kind of dirt may cost them."""

from datetime import date
from typing import Any

import orjson
import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceSettings
from services.connector.changes import UnreadableRow, fact
from services.connector.whmcs import answers
from services.connector.whmcs.entities import ACTIONS, ListAction
from services.connector.whmcs.translate import translate_row
from tests.builders import FIRST_SEEN
from tools.whmcs_simulator.answers import Answers
from tools.whmcs_simulator.dirt import DIRT
from tools.whmcs_simulator.life import build_company

# Of each kind, the fields of the fact that decide a figure.
OF_FIGURES = (
    "customer_id",
    "status",
    "cycle",
    "recurring_micros",
    "next_due_on",
    "currency",
    "rate",
    "total_micros",
)
READ = {action.action.lower(): action for action in ACTIONS.values()}
SINGLES = {"getinvoice": "invoiceid", "getclientsdetails": "clientid"}

Contents = dict[int, dict[str, Any] | None]


@pytest.fixture(scope="module")
def company() -> Answers:
    return Answers(build_company(seed=1, customers=300, years=2, today=date(2026, 11, 24)))


def contents(company: Answers, action: str) -> Contents:
    """Return the body that each row of an action becomes, in the order of rows; None for a row that cannot be read."""
    if action in SINGLES:
        ids = company.company.invoices if action == "getinvoice" else company.company.customers
        bodies = [company.answer({"action": action, SINGLES[action]: str(row_id)}) for row_id in ids]
    else:
        bodies = [company.answer({"action": action, "limitnum": "10000"})]
    return dict(enumerate(content(action, row) for body in bodies for row in rows(action, body)))


def rows(action: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    received, declared = orjson.loads(orjson.dumps(body)), READ[action]
    if isinstance(declared, ListAction):
        return answers.rows(received, declared.plural, declared.singular)
    return [declared.row(received)]


def content(action: str, row: dict[str, Any]) -> dict[str, Any] | None:
    declared = READ[action]
    try:
        body = translate_row(declared, row, InstanceSettings()).content
        fact(declared.kind, body, 1, FIRST_SEEN)
    except UnreadableRow:
        return None
    return body


def of_figures(body: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if body is None else {name: body[name] for name in OF_FIGURES if name in body}


@pytest.mark.parametrize("name", DIRT)
def test_dirt_costs_a_row_no_more_than_it_must(company: Answers, name: str) -> None:
    dirt, lost, changed = DIRT[name], 0, 0
    for action in dirt.columns:
        company.dirt = ()
        clean = contents(company, action)
        company.dirt = (name,)
        dirty = contents(company, action)

        lost += sum(dirty[key] is None for key in clean)
        changed += sum(
            dirty[key] is not None and of_figures(dirty[key]) != of_figures(clean[key]) for key in clean
        )
        assert None not in clean.values()
        assert len(dirty) == len(clean)

    assert (lost > 0) == (dirt.harm == "row")
    assert changed == 0 or dirt.harm == "figure"


def test_most_rows_survive_all_dirt_at_once(company: Answers) -> None:
    company.dirt = tuple(DIRT)
    for action, declared in READ.items():
        if declared.kind is Kind.CURRENCY:
            continue
        bodies = contents(company, action)
        assert sum(body is None for body in bodies.values()) <= len(bodies) / 4, action

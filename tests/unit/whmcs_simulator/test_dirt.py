"""Dirty data is off at first, changes some rows when it is on, and leaves the company clean."""

from typing import Any

import pytest

from tests.unit.whmcs_simulator.conftest import TODAY, Ends
from tools.whmcs_simulator.answers import Answers
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.dirt import DIRT
from tools.whmcs_simulator.life import build_company

LISTS = {
    "getclients": ("clients", "client"),
    "getclientsproducts": ("products", "product"),
    "getclientsaddons": ("addons", "addon"),
    "getclientsdomains": ("domains", "domain"),
    "getproducts": ("products", "product"),
    "getcurrencies": ("currencies", "currency"),
    "getpromotions": ("promotions", "promotion"),
    "getinvoices": ("invoices", "invoice"),
    "getcancelledpackages": ("packages", "package"),
    "gettransactions": ("transactions", "transaction"),
}


def bodies(answers: Answers, action: str) -> list[dict[str, Any]]:
    """Return the rows of a list, or the bodies of an action that returns a single row."""
    if action in LISTS:
        plural, singular = LISTS[action]
        return answers.answer({"action": action, "limitnum": "10000"})[plural][singular]  # type: ignore[no-any-return]
    ids = answers.company.invoices if action == "getinvoice" else answers.company.customers
    parameter = "invoiceid" if action == "getinvoice" else "clientid"
    return [answers.answer({"action": action, parameter: str(row_id)}) for row_id in ids]


@pytest.fixture(scope="module")
def shop() -> Company:
    return build_company(seed=1, customers=300, years=2, today=TODAY)


@pytest.mark.parametrize("name", DIRT)
def test_every_switch_dirties_some_rows(shop: Company, name: str) -> None:
    answers = Answers(shop, "numbers")
    changed = set()
    for action in DIRT[name].columns:
        clean = bodies(answers, action)
        answers.dirt = (name,)
        if bodies(answers, action) != clean:
            changed.add(action)
        answers.dirt = ()
        assert bodies(answers, action) == clean

    assert changed


@pytest.mark.parametrize("name", DIRT)
def test_every_column_of_a_switch_exists(shop: Company, name: str) -> None:
    answers = Answers(shop, "numbers")
    for action, columns in DIRT[name].columns.items():
        row = bodies(answers, action)[0]
        assert {column.partition(".")[0] for column in columns} <= row.keys()


async def test_control_end_turns_dirt_on_and_off(ends: Ends) -> None:
    all_on = (await ends.control.put("/dirt", json={"on": "all"})).json()
    dirty = await ends.call("GetClientsProducts", limitnum=500)
    off = (await ends.control.put("/dirt", json={"on": []})).json()
    refused = await ends.control.put("/dirt", json={"on": ["mud"]})

    assert set(all_on["on"]) == DIRT.keys() == all_on["switches"].keys()
    assert dirty != await ends.call("GetClientsProducts", limitnum=500)
    assert off["on"] == []
    assert refused.status_code == 400

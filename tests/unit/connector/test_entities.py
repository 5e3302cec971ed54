"""The registry of WHMCS actions: every kind has its declaration, its translation and a recorded example."""

import json
from pathlib import Path
from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.failures import text_of_missing
from services.connector.whmcs.entities import ACTIONS, LISTS, LOOK_UPS, TRANSACTIONS, VERSION_ACTION

EXAMPLES = Path(__file__).parents[2] / "contract" / "whmcs"


def test_every_kind_has_one_declaration() -> None:
    assert len(ACTIONS) == len((*LISTS, TRANSACTIONS, *LOOK_UPS))
    assert ACTIONS.keys() == set(Kind)


@pytest.mark.parametrize("action", ACTIONS.values(), ids=lambda action: action.action)
def test_every_action_has_a_recorded_example(action: Any) -> None:
    body = json.loads((EXAMPLES / f"{action.action}.json").read_text())

    assert body["result"] == "success"


def test_missing_optional_action_names_its_consequence() -> None:
    optional = {action.action for action in ACTIONS.values() if not action.is_needed} | {VERSION_ACTION}
    needed = {action.action for action in ACTIONS.values() if action.is_needed}

    assert all("Without it we " in text_of_missing(action) for action in optional)
    assert all(text_of_missing(action).startswith("The API role lacks") for action in needed)

"""The registry of WHMCS actions: every kind has its declaration, its translation and a recorded example."""

import json
from pathlib import Path
from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.failures import text_of_missing
from services.connector.whmcs.entities import (
    ACTIONS,
    ACTIVITY_LOG,
    LISTS,
    LOOK_UPS,
    PERMISSIONS,
    TRANSACTIONS,
    VERSION_ACTION,
)
from services.gateway.pages import role

EXAMPLES = Path(__file__).parents[2] / "contract" / "whmcs"
NEEDED = {permission.action for permission in PERMISSIONS if permission.is_needed}
OPTIONAL = {permission.action for permission in PERMISSIONS if not permission.is_needed} | {VERSION_ACTION}


def test_every_kind_has_one_declaration() -> None:
    assert len(ACTIONS) == len((*LISTS, TRANSACTIONS, *LOOK_UPS))
    assert ACTIONS.keys() == set(Kind)


@pytest.mark.parametrize("action", ACTIONS.values(), ids=lambda action: action.action)
def test_every_action_has_a_recorded_example(action: Any) -> None:
    body = json.loads((EXAMPLES / f"{action.action}.json").read_text())

    assert body["result"] == "success"


def test_missing_optional_action_names_its_consequence() -> None:
    assert all(f"{action}. Without it " in text_of_missing(action) for action in OPTIONAL)
    assert all(text_of_missing(action).startswith("The API role lacks") for action in NEEDED)


def test_check_asks_for_every_action_of_the_role_page() -> None:
    assert {action for group in role.NEEDED for action in group.actions} == NEEDED
    assert {action.action for action in role.OPTIONALS} == OPTIONAL


def test_check_asks_for_every_action_of_a_run() -> None:
    assert {action.action for action in ACTIONS.values()} | {ACTIVITY_LOG} == {
        permission.action for permission in PERMISSIONS
    }

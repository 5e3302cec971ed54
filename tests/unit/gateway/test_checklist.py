"""A connection test in words."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from libs.common.contracts.sync import Check
from services.gateway.instances.checks import CheckProgress
from services.gateway.pages.checklist import checklist_of

OK = Check(name="address", state="ok", message="The address is public.")
WARNING = Check(name="clock", state="warning", message="The clock is 3 minutes late.")
FAILED = Check(
    name="credentials", state="failed", code="credentials_rejected", message="WHMCS refused the secret."
)
LACKING = Check(name="permission", state="failed", message="Not allowed.", action="GetClients")


def check(*lines: Check, complete: bool = True, is_new: bool = True) -> CheckProgress:
    started_at = datetime(2026, 11, 29, tzinfo=UTC)
    return CheckProgress(UUID(int=1), started_at, is_new, complete, lines, None, None)


def test_failed_test_counts_and_names_what_failed() -> None:
    checklist = checklist_of(check(OK, FAILED, WARNING, LACKING), is_connected=False)

    assert checklist.headline == "Not connected."
    assert checklist.sentence == "2 of 4 checks failed: API credentials, permission GetClients."
    assert checklist.asks_to_change


def test_failed_permissions_are_one_list() -> None:
    other = LACKING.model_copy(update={"action": "GetInvoices"})

    checklist = checklist_of(check(LACKING, other), is_connected=False)

    assert checklist.sentence == "2 of 2 checks failed: permissions GetClients, GetInvoices."


def test_failures_come_first_and_passed_checks_apart() -> None:
    checklist = checklist_of(check(OK, WARNING, FAILED), is_connected=True)

    assert [line.word for line in checklist.lines] == ["Failed", "Warning"]
    assert [line.word for line in checklist.passed] == ["Passed"]


@pytest.mark.parametrize(
    ("is_new", "headline"),
    [(True, "The new connection is not used."), (False, "The connection test failed.")],
)
def test_connected_instance_keeps_its_credentials(is_new: bool, headline: str) -> None:
    checklist = checklist_of(check(FAILED, is_new=is_new), is_connected=True)

    assert checklist.headline == headline
    assert checklist.sentence.endswith("The stored credentials stay in use.")


def test_warning_is_no_failure() -> None:
    checklist = checklist_of(check(OK, WARNING), is_connected=False)

    assert (checklist.headline, checklist.level, checklist.asks_to_change) == ("Connected.", "good", False)


def test_optional_permissions_are_apart_with_their_use() -> None:
    optional = Check(
        name="permission",
        state="warning",
        code="permission_missing",
        message="Optional permission missing: GetCurrencies.",
        action="GetCurrencies",
    )

    checklist = checklist_of(check(OK, optional, WARNING), is_connected=True)

    assert [line.title for line in checklist.optional] == ["Permission GetCurrencies"]
    assert [line.title for line in checklist.lines] == ["Clock of the server"]


@pytest.mark.parametrize(
    ("detail", "address"),
    [("https://www.example.com/", "https://www.example.com/"), ("/login", None), (None, None)],
)
def test_redirect_offers_its_address(detail: str | None, address: str | None) -> None:
    moved = Check(name="api", state="failed", code="redirected", message="It redirects.", detail=detail)

    [line] = checklist_of(check(moved), is_connected=False).lines

    assert line.new_address == address


def test_running_test_shows_its_results_in_order() -> None:
    checklist = checklist_of(check(OK, FAILED, complete=False), is_connected=False)

    assert [line.word for line in checklist.lines] == ["Passed", "Failed"]
    assert (checklist.level, checklist.passed, checklist.asks_to_change) == ("running", (), False)

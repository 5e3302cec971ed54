"""What a run reads follows from its checkpoints, and so does how it ends."""

from uuid import UUID

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.sync import Outcome
from services.connector import plan
from services.connector.plan import Checkpoint
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.entities import ACTIONS, LISTS, ListAction

ADDONS = next(action for action in LISTS if action.kind is Kind.ADDON)
CUSTOMERS = next(action for action in LISTS if action.kind is Kind.CUSTOMER)


def done(*kinds: Kind, rows: int = 5, code: str | None = None) -> dict[Kind, Checkpoint]:
    return {kind: Checkpoint(kind, rows=rows, expected=rows, done=True, code=code) for kind in kinds}


def all_done(rows: int = 5) -> dict[Kind, Checkpoint]:
    return done(*(action.kind for action in LISTS), Kind.CUSTOMER_DETAIL, rows=rows)


def test_lists_that_are_not_done_are_read() -> None:
    points = done(Kind.CUSTOMER) | {Kind.INVOICE: Checkpoint(Kind.INVOICE, position=250, rows=250)}

    kinds = [action.kind for action in plan.lists_to_read(points)]

    assert kinds == [action.kind for action in LISTS if action.kind is not Kind.CUSTOMER]


def test_paged_list_continues_and_another_starts_again() -> None:
    points = {kind: Checkpoint(kind, position=250, rows=250) for kind in (Kind.CUSTOMER, Kind.ADDON)}

    assert plan.start_of(CUSTOMERS, points).position == 250
    assert plan.start_of(ADDONS, points) == Checkpoint(Kind.ADDON)


def test_run_that_read_all_is_complete() -> None:
    result = plan.result_of(all_done())

    assert (result.outcome, result.skipped) == (Outcome.COMPLETE, ())
    assert result.counts == {kind: 5 for kind in all_done()}


def test_run_without_customers_and_services_is_empty() -> None:
    assert plan.result_of(all_done(rows=0)).outcome is Outcome.EMPTY


@pytest.mark.parametrize(
    ("kind", "outcome"), [(Kind.INVOICE, Outcome.PARTIAL), (Kind.PROMOTION, Outcome.COMPLETE)]
)
def test_needed_kind_that_failed_makes_a_run_partial(kind: Kind, outcome: Outcome) -> None:
    result = plan.result_of(all_done() | done(kind, code="permission_missing"))

    (skipped,) = result.skipped
    assert result.outcome is outcome
    assert (skipped.kind, skipped.action) == (kind, ACTIONS[kind].action)
    assert kind not in result.counts


def test_run_without_one_needed_list_fails() -> None:
    needed = [action.kind for action in LISTS if action.is_needed]

    with pytest.raises(WhmcsError) as caught:
        plan.result_of(all_done() | done(*needed, code="permission_missing"))

    assert (caught.value.code, caught.value.action) == ("permission_missing", "GetClients")


def test_progress_names_every_list_from_the_start() -> None:
    point = Checkpoint(Kind.CUSTOMER, rows=40, expected=60)

    progress = plan.progress_of(UUID(int=1), {Kind.CUSTOMER: point} | done(Kind.ADDON, rows=3))

    assert progress.kinds.keys() == {action.kind for action in LISTS}
    assert (progress.kinds["customer"].rows, progress.kinds["customer"].expected) == (40, 60)
    assert (progress.kinds["addon"].rows, progress.kinds["addon"].expected) == (3, 3)
    assert (progress.kinds["service"].rows, progress.kinds["service"].expected) == (0, None)


@pytest.mark.parametrize(("rows", "bad", "is_too_much"), [(99, 99, False), (100, 5, False), (100, 6, True)])
def test_share_of_bad_rows_is_bounded(rows: int, bad: int, is_too_much: bool) -> None:
    action: ListAction = CUSTOMERS
    point = Checkpoint(action.kind, rows=rows, bad=bad)

    def check() -> bool:
        try:
            plan.check_share_of_bad_rows(action, point)
        except WhmcsError:
            return True
        return False

    assert check() is is_too_much

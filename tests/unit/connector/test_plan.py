"""What a run reads follows from its checkpoints, and so does how it ends."""

from contextlib import nullcontext
from dataclasses import replace
from uuid import UUID

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import MAX_RECORD_BYTES
from libs.common.contracts.sync import Outcome, UnreadableRow, UnreadableRows
from services.connector import plan
from services.connector.plan import Checkpoint
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.entities import ACTIONS, LISTS

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


def unreadable(count: int, row_id: int | None = 7) -> UnreadableRows:
    rows = [UnreadableRow(id=row_id, reason="its amount is no number")] * min(count, 1_000)
    return UnreadableRows(count=count, rows=tuple(rows))


@pytest.mark.parametrize(("rows", "bad", "is_refused"), [(99, 99, False), (100, 99, False), (100, 100, True)])
def test_list_without_one_readable_row_fails(rows: int, bad: int, is_refused: bool) -> None:
    point = Checkpoint(CUSTOMERS.kind, rows=rows, unreadable=unreadable(bad))

    with pytest.raises(WhmcsError) if is_refused else nullcontext():
        plan.check_readable(CUSTOMERS, point)


@pytest.mark.parametrize(
    ("point", "distinct", "is_whole"),
    [
        (Checkpoint(Kind.SERVICE, expected=60), 60, True),
        (Checkpoint(Kind.SERVICE, expected=60), 61, True),
        (Checkpoint(Kind.SERVICE, expected=60), 59, False),
        (Checkpoint(Kind.SERVICE, expected=60, is_joined=False), 60, True),
        (Checkpoint(Kind.SERVICE), 60, True),
        (Checkpoint(Kind.SERVICE, is_joined=False), 60, False),
        (Checkpoint(Kind.SERVICE, expected=60, unreadable=unreadable(2, None)), 58, True),
        (Checkpoint(Kind.SERVICE, expected=60, unreadable=unreadable(2)), 58, False),
        (Checkpoint(Kind.SERVICE, expected=60, unreadable=unreadable(1_001)), 60, False),
    ],
)
def test_list_is_whole_with_as_many_ids_as_its_total(
    point: Checkpoint, distinct: int, is_whole: bool
) -> None:
    assert (plan.at_end(point, distinct).is_whole is True) == is_whole


def test_list_that_did_not_come_whole_is_read_twice() -> None:
    point = Checkpoint(Kind.SERVICE, position=60, expected=60, rows=60, changed=3, warnings={"qty": 1})

    again = plan.at_end(point, 59)
    ended = plan.at_end(replace(again, position=60, expected=60, rows=60), 59)

    assert again == Checkpoint(Kind.SERVICE, changed=3, is_whole=False)
    assert (ended.done, ended.code, ended.rows) == (True, "not_whole", 59)


def test_run_tells_what_it_read_whole_and_what_not() -> None:
    points = all_done() | {
        Kind.SERVICE: Checkpoint(Kind.SERVICE, rows=5, done=True, is_whole=True, unreadable=unreadable(2)),
        Kind.ADDON: Checkpoint(Kind.ADDON, rows=5, done=True, is_whole=True, warnings={"qty": 2}),
        Kind.DOMAIN: Checkpoint(Kind.DOMAIN, rows=5, done=True, is_whole=False, code="not_whole"),
    }

    result = plan.result_of(points)

    assert result.whole == (Kind.SERVICE, Kind.ADDON)
    assert (result.unreadable, result.warnings) == ({"service": unreadable(2)}, {"addon": {"qty": 2}})
    assert [(skip.kind, skip.code) for skip in result.skipped] == [("domain", "not_whole")]
    assert result.outcome is Outcome.PARTIAL


def test_run_warns_of_text_around_answers() -> None:
    result = plan.result_of(all_done())

    assert plan.with_noise(result, 0) == result
    assert plan.with_noise(result, 3).warnings == {"answers": {"noise": 3}}


def test_only_the_first_thousand_unreadable_rows_are_listed() -> None:
    row = UnreadableRow(id=None, reason="its id is no number")

    point = plan.with_unreadable(Checkpoint(Kind.SERVICE, unreadable=unreadable(999)), [row] * 3)

    assert (point.unreadable.count, len(point.unreadable.rows)) == (1_002, 1_000)


def test_reasons_leave_room_for_every_id_in_one_event() -> None:
    rows = tuple(
        UnreadableRow(id=2**63 - number, reason='its "amount" \u20ac' * 30) for number in range(1, 1_001)
    )
    points = {
        action.kind: replace(point, unreadable=UnreadableRows(count=1_000, rows=rows))
        for action, point in zip(LISTS, all_done(2_000).values(), strict=False)
    }
    few = UnreadableRows(count=2, rows=rows[:2])

    result = plan.result_of(points)

    assert all(
        [row.id for row in of_kind.rows] == [row.id for row in rows] for of_kind in result.unreadable.values()
    )
    size = sum(len(of_kind.model_dump_json().encode()) for of_kind in result.unreadable.values())
    # Digests have 5,000 blocks, each with an id, a count and a sum.
    assert size + 5_000 * 60 < MAX_RECORD_BYTES
    alone = plan.result_of({CUSTOMERS.kind: replace(points[CUSTOMERS.kind], unreadable=few)})
    assert alone.unreadable == {"customer": few}


def test_run_of_some_kinds_reads_only_their_lists() -> None:
    kinds = ["domain", "promotion"]

    assert [action.kind for action in plan.lists_to_read({}, kinds)] == [Kind.PROMOTION, Kind.DOMAIN]
    assert plan.result_of(done(Kind.DOMAIN, Kind.PROMOTION), kinds).outcome is Outcome.COMPLETE
    with pytest.raises(WhmcsError):
        plan.result_of(done(Kind.DOMAIN, code="server_error") | done(Kind.PROMOTION), kinds)


@pytest.mark.parametrize(
    ("failing", "kind"), [("GetClients", Kind.DOMAIN), ("GetClientsDomains", Kind.PRODUCT)]
)
def test_list_that_has_answered_shows_that_whmcs_works(failing: str, kind: Kind) -> None:
    points = done(Kind.PRODUCT, Kind.DOMAIN) | done(Kind.CUSTOMER, rows=0, code="permission_missing")

    assert plan.other_list(points, failing).kind is kind


def test_paged_list_is_asked_when_none_has_answered() -> None:
    assert plan.other_list({}, "GetClients").kind is Kind.INVOICE
    assert plan.other_list({}, "GetPromotions").kind is Kind.CUSTOMER

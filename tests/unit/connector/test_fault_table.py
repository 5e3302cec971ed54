"""Every fault of a WHMCS, of the network and of this system that the connector must survive, and the tests that show it."""

import ast
from functools import cache
from typing import Final

import pytest

from libs.common.contracts.failures import FAILURES
from tests.servers import REPOSITORY

# Paths are below `tests`, and without `.py`.
ANSWERS, CLIENT, FIELDS, OBJECTS, READING = (
    f"unit/connector/test_{name}" for name in ("answers", "client", "fields", "objects", "reading")
)
CHECKS, FAIRNESS, LEASES, NETWORKS, RUNS = (
    f"integration/connector/test_{name}"
    for name in ("checks", "fairness", "leases", "hostile_networks", "runs")
)
EVERY_FAULT: Final = (
    "integration/connector/test_every_fault::test_run_ends_as_told_and_later_all_facts_are_right"
)
KNOWN_FAILURE: Final = f"{ANSWERS}::test_known_failure_has_its_code"
FOREIGN_ANSWER: Final = f"{ANSWERS}::test_foreign_answer_has_its_own_code"
HANDSHAKE: Final = f"{CHECKS}::test_bad_handshake_is_named"

# What people see, by its code.
CODES: Final = {
    "dns_not_found": f"{CLIENT}::test_name_without_an_address_has_a_code",
    "dns_timeout": f"{CLIENT}::test_name_that_hangs_delays_no_other_name",
    "address_not_allowed": f"{CHECKS}::test_private_address_is_never_called",
    "connect_refused": f"{NETWORKS}::test_port_that_nobody_serves_is_refused",
    "unreachable": f"{NETWORKS}::test_server_that_speaks_no_tls_is_unreachable",
    "tls_certificate": HANDSHAKE,
    "tls_version": HANDSHAKE,
    "redirected": f"{ANSWERS}::test_redirect_names_the_address_to_enter",
    "redirected_inside": f"{CLIENT}::test_redirect_to_a_closed_address_is_none_to_enter",
    "not_whmcs_api": f"{CHECKS}::test_wrong_folder_is_named",
    "blocked_by_firewall": FOREIGN_ANSWER,
    "password_required": FOREIGN_ANSWER,
    "rate_limited": FOREIGN_ANSWER,
    "maintenance": FOREIGN_ANSWER,
    "server_error": FOREIGN_ANSWER,
    "bad_response": f"{CLIENT}::test_unreadable_answer_is_a_bad_response",
    "not_whole": "unit/connector/test_plan::test_list_that_did_not_come_whole_is_read_twice",
    "action_unsupported": KNOWN_FAILURE,
    "version_unsupported": "unit/connector/test_checks::test_old_version_is_refused",
    "credentials_rejected": f"{CHECKS}::test_wrong_secret_fails_the_check_of_credentials",
    "ip_not_allowed": KNOWN_FAILURE,
    "ip_banned": FOREIGN_ANSWER,
    "admin_missing": KNOWN_FAILURE,
    "permission_missing": f"{CHECKS}::test_check_names_every_forbidden_action",
    "credential_unreadable": "integration/connector/test_lost_key::test_lost_key_fails_one_instance_until_it_is_back",
    "connect_timeout": f"{NETWORKS}::test_handshake_that_hangs_ends_in_time",
    "read_timeout": f"{NETWORKS}::test_answer_that_drips_for_ever_ends_in_time",
    "run_timeout": f"{FAIRNESS}::test_silent_run_gives_its_slot_back",
    "empty": "unit/connector/test_plan::test_run_without_customers_and_services_is_empty",
}
# Events of earlier releases contain them.
NO_LONGER_GIVEN: Final = {"inconsistent_pagination"}

FAULTS: Final = {
    # What WHMCS and the site around it answer.
    "any fault of the simulator, on rows that are dirty in every way": EVERY_FAULT,
    "an error in words that no page documents": f"{CHECKS}::test_any_answer_of_whmcs_proves_every_action",
    "a parameter that PHP finds empty": f"{CHECKS}::test_connector_sends_nothing_that_php_finds_empty",
    "a form that was lost in a redirect": f"{ANSWERS}::test_form_that_was_lost_blames_no_folder_afterwards",
    "a redirect to the login": f"{ANSWERS}::test_redirect_that_leads_nowhere_else_is_no_address",
    "a page of a broken database after good answers": f"{ANSWERS}::test_folder_is_asked_for_only_before_the_first_answer",
    "a byte order mark, notices and comments around the JSON": f"{OBJECTS}::test_noise_around_the_object_is_ignored",
    "an answer that was cut off": f"{OBJECTS}::test_object_that_is_cut_off_is_never_read",
    "rows of an answer that was cut off": f"{OBJECTS}::test_rows_of_an_answer_cut_off_are_no_answer",
    "a name twice in one object": f"{OBJECTS}::test_name_twice_in_one_object_is_refused",
    "any JSON where a list should be": f"{ANSWERS}::test_any_json_is_rows_or_a_bad_response",
    "any bytes at all": f"{ANSWERS}::test_any_response_is_an_answer_or_a_code_that_people_see",
    "one action that always fails": f"{RUNS}::test_trouble_of_one_list_leaves_the_others_whole",
    "a role without one list": f"{RUNS}::test_forbidden_list_is_skipped_and_the_rest_is_synced",
    "a page that fails for one of its rows": f"{RUNS}::test_failing_page_is_read_in_halves",
    "calls beyond the limit of the site": "unit/connector/test_caller::test_retry_after_pauses_only_its_address",
    # Lists.
    "a total that is no number": f"{ANSWERS}::test_total_is_a_count_or_missing",
    "a total that is wrong": f"{READING}::test_wrong_total_hides_no_row",
    "a page that comes for another offset": f"{READING}::test_wrong_page_hides_no_row",
    "pages that are capped": f"{READING}::test_capped_pages_are_read_to_the_end",
    "the first page for every offset": f"{READING}::test_site_that_always_sends_its_first_page_is_not_whole",
    "a list that never ends": f"{READING}::test_list_that_grows_for_ever_is_not_whole",
    "rows deleted between two pages": f"{RUNS}::test_deleted_rows_hide_none_of_the_others",
    "rows added and deleted between any calls": "unit/connector/test_changing_lists::test_whole_list_has_every_row_that_stays",
    "another order on each call": "unit/connector/test_changing_lists::test_unstable_order_is_whole_only_with_every_row",
    "another order and deleted rows": "unit/connector/test_changing_lists::test_unstable_order_with_deletions_hides_no_row",
    "a filter that is ignored": "integration/connector/test_incremental::test_ignored_filter_lets_invoices_be_read_whole",
    "many rows missing at once": "integration/connector/test_deletion::test_many_missing_rows_wait_for_a_person",
    "a restored backup": "integration/connector/test_deletion::test_ids_that_went_down_are_held",
    "a look-up that proves nothing": "integration/connector/test_deletion::test_look_up_that_proves_nothing_keeps_the_row",
    # Values.
    "zero dates in every form": f"{FIELDS}::test_zero_date_in_any_form_is_none",
    "the year 9999": f"{FIELDS}::test_due_date_without_end_is_kept_and_others_are_none",
    "amounts with separators": f"{FIELDS}::test_amount_is_read_in_every_unambiguous_form",
    "texts that are no amounts": f"{FIELDS}::test_text_that_is_no_amount_is_refused",
    "odd descriptive fields": "unit/connector/test_translate::test_odd_descriptive_fields_of_a_service_have_defaults",
    "texts that PostgreSQL does not store": f"{FIELDS}::test_text_is_unescaped_once_and_can_be_stored",
    "rows that nobody can read": f"{RUNS}::test_dirt_is_reported_and_hides_no_other_row",
    "a row that is too large to be sent": "unit/connector/test_translate::test_row_that_is_too_large_becomes_no_fact",
    # Attacks.
    "an answer made to fill the memory": f"{OBJECTS}::test_largest_answer_takes_less_than_150_mb",
    "many such answers at once": "unit/connector/test_memory::test_ten_hostile_whmcs_take_less_than_500_mb",
    "an answer made to hold the event loop": "unit/connector/test_memory::test_large_answer_does_not_hold_the_event_loop",
    "a compressed bomb": f"{CLIENT}::test_bomb_takes_no_memory_and_gives_it_back",
    "a message made to hold an expression": f"{CLIENT}::test_message_of_many_tags_takes_no_long_time",
    "WHMCS that hang, drip and flood": (
        "integration/connector/test_hostile_neighbours::test_hostile_whmcs_delay_no_other_organization"
    ),
    "checks of WHMCS that hang": f"{FAIRNESS}::test_check_gets_its_turn_beside_hanging_ones",
    "a secret that is repeated": "integration/connector/test_echoes::test_secret_that_a_whmcs_repeats_is_nowhere",
    "a secret anywhere in the system": "integration/pipeline/test_truth::test_no_table_topic_or_log_contains_a_secret",
    "a credential copied to another address": "unit/connector/test_credentials::test_credential_of_another_address_does_not_open",
    "addresses that are not public": "unit/connector/test_egress::test_address_that_is_not_public_is_closed",
    "a name that moves to a closed address": f"{NETWORKS}::test_name_that_moves_to_a_closed_address_is_not_called",
    "a certificate of another name": f"{NETWORKS}::test_certificate_must_be_of_the_name_that_was_entered",
    "a server with TLS 1.2 only": f"{NETWORKS}::test_old_tls_is_accepted_only_if_the_operator_says_so",
    # This system.
    "a worker killed before any side effect": (
        "integration/connector/test_killed_anywhere::test_run_killed_before_any_side_effect_loses_nothing"
    ),
    "a killed process": f"{RUNS}::test_killed_connector_continues_its_run",
    "a worker that lost its lease": "integration/connector/test_publishing::test_worker_without_the_lease_publishes_nothing",
    "a lease lost while publishing": (
        "integration/connector/test_publishing::test_lease_lost_while_publishing_clears_the_fingerprint"
    ),
    "a clock that steps back, for leases": f"{LEASES}::test_clock_that_steps_back_locks_no_instance",
    "a clock that steps back, for ticks": "integration/scheduler/test_scheduler::test_clock_set_back_issues_nothing_twice",
    "a clock that jumps, for ticks": "unit/scheduler/test_schedule::test_jumping_clock_issues_nothing_early_and_stops_nothing",
    "topics that were emptied": f"{RUNS}::test_emptied_topics_get_the_whole_state_again",
    "a command that comes twice": "integration/connector/test_commands::test_redelivered_command_is_answered_once",
    "a record that nobody can read": "integration/test_poison::test_every_kind_of_poison_is_parked_once",
    "an instance deleted in a run": (
        "integration/connector/test_publishing::test_deleted_instance_leaves_tombstones_and_no_credential"
    ),
    "keys that change": "integration/connector/test_rotation::test_all_credentials_open_with_the_new_key_alone",
}


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of the tests in a file below `tests`."""
    tree = ast.parse((REPOSITORY / "tests" / f"{path}.py").read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("fault", FAULTS | CODES)
def test_fault_has_a_test(fault: str) -> None:
    path, _, name = (FAULTS | CODES)[fault].partition("::")

    assert name in names_in(path)


@pytest.mark.parametrize("code", CODES)
def test_file_of_a_code_names_it(code: str) -> None:
    path = CODES[code].partition("::")[0]

    assert code in (REPOSITORY / "tests" / f"{path}.py").read_text(encoding="utf-8").lower()


def test_every_code_that_people_see_has_a_test() -> None:
    assert CODES.keys() | NO_LONGER_GIVEN == FAILURES.keys()
    assert not CODES.keys() & NO_LONGER_GIVEN

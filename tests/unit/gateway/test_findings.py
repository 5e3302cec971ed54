"""What syncs found, in words."""

from libs.common.contracts.sync import UnreadableRow, UnreadableRows
from services.gateway.pages.findings import (
    held_of,
    held_sentence,
    link,
    missing_of,
    noise_of,
    unreadable_of,
    warnings_of,
)
from services.gateway.standing import HeldKind
from tests.unit.gateway.test_standing import FIRST

ADDRESS = "https://billing.example.com/whmcs"


def test_held_deletions_say_how_many_and_why() -> None:
    [held] = held_of({"service": HeldKind(FIRST, 312, 1020, "ids_went_down")})

    assert held.sentence == "312 of 1,020 services are missing in WHMCS. We keep them until you decide."
    assert held.reason == "The highest numbers in WHMCS went down, as after a backup was restored."
    assert held_sentence("domain", 1, 30).startswith("1 of 30 domains is missing")


def test_unreadable_record_leads_to_its_page_in_whmcs() -> None:
    rows = UnreadableRows(
        count=3, rows=(UnreadableRow(id=7, reason="No amount."), UnreadableRow(id=None, reason="No id."))
    )

    [invoices] = unreadable_of({"invoice": rows}, ADDRESS)

    assert (invoices.title, invoices.count, invoices.unlisted) == ("Invoices", 3, 1)
    assert [(row.number, row.href) for row in invoices.rows] == [
        (7, f"{ADDRESS}/admin/invoices.php?action=edit&id=7"),
        (None, None),
    ]


def test_missing_record_has_a_name_and_its_page() -> None:
    assert missing_of("service", [17], ADDRESS) == [
        ("Service 17", f"{ADDRESS}/admin/clientsservices.php?id=17")
    ]
    assert missing_of("cancellation_request", [5], ADDRESS) == [("Cancellation request 5", None)]


def test_link_needs_an_address_and_a_known_page() -> None:
    assert link(None, "invoice", 7) is None
    assert link(ADDRESS, "addon", 7) is None


def test_warnings_name_their_fields() -> None:
    fields = {"invoice": {"date_cancelled": 3, "duedate": 1200}, "transaction": {"fees": 1}}

    assert warnings_of(fields) == ["Invoices: date cancelled (3), due date (1,200)", "Payments: fees (1)"]


def test_text_around_answers_is_no_field() -> None:
    noisy = {"answers": {"noise": 3}, "invoice": {"duedate": 1}}

    assert warnings_of(noisy) == ["Invoices: due date (1)"]
    assert str(noise_of(noisy)).startswith("Something on the site writes text")
    assert noise_of({"invoice": {"duedate": 1}}) is None

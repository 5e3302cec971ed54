"""Answers of the list actions: paging, filters, and unknown parameters."""

from typing import Any

import pytest

from tools.whmcs_simulator.answers import Answers
from tools.whmcs_simulator.change import change
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.drift import DRIFTS, Drift
from tools.whmcs_simulator.life import advance

PAGED = {
    "GetClients": ("clients", "client"),
    "GetClientsProducts": ("products", "product"),
    "GetClientsDomains": ("domains", "domain"),
    "GetCancelledPackages": ("packages", "package"),
    "GetInvoices": ("invoices", "invoice"),
    "GetOrders": ("orders", "order"),
    "GetActivityLog": ("activity", "entry"),
}
UNPAGED = {
    "GetClientGroups": ("groups", "group"),
    "GetClientsAddons": ("addons", "addon"),
    "GetProducts": ("products", "product"),
    "GetTransactions": ("transactions", "transaction"),
    "GetCurrencies": ("currencies", "currency"),
    "GetPromotions": ("promotions", "promotion"),
    "GetPaymentMethods": ("paymentmethods", "paymentmethod"),
    "GetOrderStatuses": ("statuses", "status"),
}


@pytest.fixture
def answers(company: Company) -> Answers:
    return Answers(company, "numbers")


def rows(answers: Answers, action: str, **parameters: str) -> list[dict[str, Any]]:
    plural, singular = (PAGED | UNPAGED)[action]
    body = answers.answer({"action": action, **parameters})
    wrapper = body.get(plural)
    return wrapper[singular] if wrapper else []  # type: ignore[no-any-return]


@pytest.mark.parametrize("action", PAGED)
def test_pages_contain_every_row_once(answers: Answers, action: str) -> None:
    everything = rows(answers, action, limitnum="100000")
    size = max(1, len(everything) // 3)

    paged: list[dict[str, Any]] = []
    while page := rows(answers, action, limitstart=str(len(paged)), limitnum=str(size)):
        assert len(page) <= size
        paged += page

    assert paged == everything
    assert len(everything) == int(answers.answer({"action": action})["totalresults"]) > 3


@pytest.mark.parametrize("action", PAGED)
def test_page_has_25_rows_by_default(answers: Answers, company: Company, action: str) -> None:
    advance(company, 400)
    total = int(answers.answer({"action": action})["totalresults"])

    for size in ("", "0", "-5", "many"):
        assert len(rows(answers, action, limitnum=size)) == min(25, total)


@pytest.mark.parametrize("action", UNPAGED)
def test_actions_that_do_not_page_ignore_the_page(answers: Answers, action: str) -> None:
    assert rows(answers, action, limitstart="2", limitnum="1") == rows(answers, action) != []


@pytest.mark.parametrize("action", [*PAGED, *UNPAGED])
def test_an_unknown_parameter_is_ignored(answers: Answers, action: str) -> None:
    assert rows(answers, action, modified_since="2026-01-01", statu="Active") == rows(answers, action)


def test_action_names_are_not_case_sensitive(answers: Answers) -> None:
    assert answers.knows("GETclients")
    assert rows(answers, "GetClients") == answers.answer({"action": "getclients"})["clients"]["client"]


@pytest.mark.parametrize(
    ("action", "parameter", "field"),
    [
        ("GetClientsProducts", "serviceid", "id"),
        ("GetClientsProducts", "clientid", "clientid"),
        ("GetClientsProducts", "pid", "pid"),
        ("GetClientsProducts", "domain", "domain"),
        ("GetClientsProducts", "username2", "username"),
        ("GetClientsAddons", "addonid", "id"),
        ("GetClientsAddons", "clientid", "userid"),
        ("GetClientsAddons", "serviceid", "serviceid"),
        ("GetClientsDomains", "domainid", "id"),
        ("GetClientsDomains", "clientid", "userid"),
        ("GetClientsDomains", "domain", "domainname"),
        ("GetProducts", "pid", "pid"),
        ("GetProducts", "gid", "gid"),
        ("GetProducts", "module", "module"),
        ("GetClients", "status", "status"),
        ("GetInvoices", "userid", "userid"),
        ("GetInvoices", "status", "status"),
        ("GetTransactions", "clientid", "userid"),
        ("GetTransactions", "invoiceid", "invoiceid"),
        ("GetTransactions", "transid", "transid"),
        ("GetOrders", "id", "id"),
        ("GetOrders", "userid", "userid"),
        ("GetOrders", "status", "status"),
        ("GetActivityLog", "clientid", "clientId"),
        ("GetPromotions", "code", "code"),
    ],
)
def test_filter_returns_exactly_the_matching_rows(
    answers: Answers, action: str, parameter: str, field: str
) -> None:
    everything = rows(answers, action, limitnum="100000")
    # A value that only some rows have.
    value = next(row[field] for row in everything if row[field] and row[field] != everything[0][field])

    filtered = rows(answers, action, limitnum="100000", **{parameter: str(value)})

    def by_id(row: dict[str, Any]) -> Any:
        return row.get("id", row.get("pid"))

    expected = [row for row in everything if row[field] == value]
    assert sorted(filtered, key=by_id) == sorted(expected, key=by_id)
    assert 0 < len(filtered) < len(everything)


def test_overdue_is_a_filter_whose_rows_say_unpaid(answers: Answers) -> None:
    overdue = rows(answers, "GetInvoices", status="Overdue")

    assert {row["status"] for row in overdue} == {"Unpaid"}
    assert all(row["duedate"] < "2026-11-24" for row in overdue)


@pytest.mark.parametrize(
    ("action", "order", "field"),
    [
        ("GetClients", {"orderby": "id", "sorting": "ASC"}, "id"),
        ("GetClients", {"orderby": "datecreated", "sorting": "DESC"}, "datecreated"),
        ("GetInvoices", {"orderby": "id", "order": "asc"}, "id"),
        ("GetInvoices", {"orderby": "id", "order": "desc"}, "id"),
        ("GetInvoices", {"orderby": "duedate", "order": "desc"}, "duedate"),
    ],
)
def test_list_has_the_requested_order(
    answers: Answers, action: str, order: dict[str, str], field: str
) -> None:
    values = [row[field] for row in rows(answers, action, limitnum="100000", **order)]

    assert values == sorted(values, reverse="desc" in str(order).lower())


def test_list_is_read_again_after_the_company_has_changed(answers: Answers, company: Company) -> None:
    before = len(rows(answers, "GetInvoices", limitnum="100000"))

    advance(company, 60)

    assert len(rows(answers, "GetInvoices", limitnum="100000")) > before


def test_change_by_hand_is_the_newest_entry_of_the_log(answers: Answers, company: Company) -> None:
    service = next(iter(company.services.values()))

    change(company, {"kind": "service", "id": service.id, "set": {"recurring": "12.34"}})

    entries = rows(answers, "GetActivityLog", limitnum="3")
    assert entries[0]["clientId"] == service.customer_id
    assert [entry["id"] for entry in entries] == sorted((entry["id"] for entry in entries), reverse=True)


@pytest.mark.parametrize("drift", DRIFTS)
@pytest.mark.parametrize(
    "action", ["GetClientsProducts", "GetClientsAddons", "GetClientsDomains", "GetInvoices"]
)
def test_drift_changes_types_and_no_values(company: Company, action: str, drift: Drift) -> None:
    plain = rows(Answers(company, "numbers"), action, limitnum="1000")

    drifting = rows(Answers(company, drift), action, limitnum="1000")

    def same(value: Any, drifted: Any) -> bool:
        is_absent = value == 0 and drifted == ""
        return (
            is_absent
            or str(value) == str(drifted)
            or (isinstance(drifted, float) and float(value) == drifted)
        )

    for row, drifted in zip(plain, drifting, strict=True):
        assert row.keys() == drifted.keys()
        assert all(same(row[key], drifted[key]) for key in row)
    types = {type(row["id"]) for row in drifting}
    assert types == {"varied": {int, str}, "text": {str}, "numbers": {int}}[drift]


def test_list_omits_a_retired_product_but_not_its_services(answers: Answers) -> None:
    listed = {row["pid"] for row in rows(answers, "GetProducts")}
    used = {row["pid"]: row["groupname"] for row in rows(answers, "GetClientsProducts", limitnum="1000")}

    assert used.keys() - listed == {19}
    assert used[19] == "Web Hosting"


def test_text_is_stored_with_html_entities(answers: Answers) -> None:
    names = {row["lastname"] for row in rows(answers, "GetClients", limitnum="1000")}
    products = {row["name"] for row in rows(answers, "GetClientsProducts", limitnum="1000")}

    assert "O&#039;Brien" in names
    assert any("&amp;" in name and "&lt;" in name and "&quot;" in name for name in products)

"""The simulator answers as the official samples and the recorded errors do. It may have more fields, never fewer."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tools.whmcs_simulator.access import Access
from tools.whmcs_simulator.answers import ACTIONS, Answers
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.faults import Faults
from tools.whmcs_simulator.life import build_company
from tools.whmcs_simulator.server import Api

SAMPLES = Path(__file__).parent
ERRORS = json.loads((SAMPLES / "errors.json").read_text())["errors"]
SAMPLED = sorted(file.stem for file in SAMPLES.glob("[A-Z]*.json"))
PARAMETERS = {
    "GetClientsDetails": {"clientid": "1", "stats": "1"},
    "GetConfigurationValue": {"setting": "SystemURL"},
    "GetProducts": {"pid": "9"},
}
# The documentation spells this key differently from every live system.
RENAMED = {"product-url": "product_url"}
# Objects whose keys are data, such as currency codes.
FREE_KEYS = {"pricing", "timeline_data", "statistics", "email_preferences"}


@pytest.fixture(scope="module")
def company() -> Company:
    return build_company(seed=1, customers=60, years=2, today=date(2026, 11, 24))


@pytest.fixture(scope="module")
def answers(company: Company) -> Answers:
    return Answers(company)


def nested(sample: dict[str, Any]) -> dict[str, Any]:
    """Return a flat sample as nested lists: `addons[addon][0][id]` is a field of the first addon."""
    result: dict[str, Any] = {}
    for key, value in sample.items():
        parts = re.findall(r"[^\[\]]+", key)
        if len(parts) == 1:
            result[key] = value
        else:
            plural, singular, index, field = parts
            rows = result.setdefault(plural, {}).setdefault(singular, [])
            rows.extend({} for _ in range(int(index) + 1 - len(rows)))
            rows[int(index)][field] = value
    return result


def lacks(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Return the places where ours lacks a key of theirs or has another shape: list, object or plain value."""
    if isinstance(theirs, dict):
        if not isinstance(ours, dict):
            return [f"{path} is no object"]
        gaps = []
        for key, value in theirs.items():
            name = RENAMED.get(key, key)
            if name not in ours:
                gaps.append(f"{path}.{name} is missing")
            elif name not in FREE_KEYS:
                gaps += lacks(ours[name], value, f"{path}.{name}")
        return gaps
    if isinstance(theirs, list) and theirs and isinstance(theirs[0], dict):
        if not isinstance(ours, list):
            return [f"{path} is no list"]
        return [gap for row in ours for gap in lacks(row, theirs[0], f"{path}[]")] if ours else []
    return (
        [f"{path} is no plain value"]
        if isinstance(ours, dict | list) and not isinstance(theirs, list)
        else []
    )


@pytest.mark.parametrize("action", SAMPLED)
def test_answer_has_every_key_of_the_sample(answers: Answers, company: Company, action: str) -> None:
    sample = nested(json.loads((SAMPLES / f"{action}.json").read_text()))
    parameters = PARAMETERS.get(action, {})
    if action == "GetCredits":
        parameters = {"clientid": str(next(c.id for c in company.customers.values() if c.credits))}
    if action == "GetInvoice":
        parameters = {"invoiceid": str(next(i.id for i in company.invoices.values() if not i.transactions))}

    ours = answers.answer({"action": action, **parameters})

    missing = set(lacks(ours, sample))
    # A service of another system has no order number, as in the second row of the sample. The sample omits statistics.
    missing -= {".products.product[].ordernumber is missing", ".statistics is no plain value"}
    assert missing == set()


def test_every_action_has_a_sample() -> None:
    assert {action.lower() for action in SAMPLED} == ACTIONS


EMPTY = {
    "GetClientsProducts": ({"clientid": "999999"}, {"products": ""}),
    "GetClientsAddons": ({"clientid": "999999"}, {}),
    "GetClientsDomains": ({"clientid": "999999"}, {"domains": ""}),
    "GetProducts": ({"pid": "999999"}, {"products": ""}),
    "GetInvoices": ({"userid": "999999"}, {"invoices": {}}),
    "GetTransactions": ({"invoiceid": "999999"}, {"transactions": ""}),
    "GetOrders": ({"userid": "999999"}, {"orders": []}),
    "GetCancelledPackages": ({"limitstart": "999999"}, {"packages": []}),
    "GetPromotions": ({"code": "NOSUCHCODE"}, {}),
    "GetClients": ({"search": "nobody has this name"}, {"clients": {"client": []}}),
    "GetActivityLog": ({"clientid": "999999"}, {"activity": {"entry": []}}),
}


@pytest.mark.parametrize("action", EMPTY)
def test_empty_list_has_the_shape_of_its_action(answers: Answers, action: str) -> None:
    parameters, shape = EMPTY[action]

    body = answers.answer({"action": action, **parameters})

    rest = {
        "result",
        "totalresults",
        "startnumber",
        "numreturned",
        "clientid",
        "serviceid",
        "pid",
        "domain",
        "domainid",
    }
    assert {key: value for key, value in body.items() if key not in rest} == shape


def test_counts_differ_in_type_between_actions(answers: Answers) -> None:
    def types(action: str) -> tuple[type, ...]:
        body = answers.answer({"action": action})
        return tuple(type(body[name]) for name in ("totalresults", "startnumber", "numreturned"))

    assert types("GetClientsProducts") == (str, int, int)
    assert types("GetClientsDomains") == (str, str, str)
    assert types("GetInvoices") == (int, int, int)


def test_sums_of_an_invoice_add_up(answers: Answers) -> None:
    rows = answers.answer({"action": "GetInvoices", "limitnum": "100000"})["invoices"]["invoice"]

    def cents(value: Any) -> int:
        return round(float(value) * 100)

    for row in rows:
        assert cents(row["subtotal"]) + cents(row["tax"]) + cents(row["tax2"]) == cents(row["total"]) + cents(
            row["credit"]
        )


def test_lines_of_an_invoice_sum_to_its_subtotal(answers: Answers, company: Company) -> None:
    for invoice_id in company.invoices:
        invoice = answers.answer({"action": "GetInvoice", "invoiceid": str(invoice_id)})
        lines = sum(round(float(item["amount"]) * 100) for item in invoice["items"]["item"])
        assert lines == round(float(invoice["subtotal"]) * 100)


# The fault for each recorded error.
FAULT_OF = {
    "secret_wrong_or_credentials_absent": {"kind": "secret_rejected"},
    "identifier_unknown": {"kind": "identifier_rejected"},
    "legacy_password_wrong": {"kind": "password_rejected"},
    "admin_account_disabled": {"kind": "admin_disabled"},
    "admin_role_lacks_api_access": {"kind": "access_denied"},
    "ip_not_allowed_v4": {"kind": "invalid_ip"},
    "ip_not_allowed_v6": {"kind": "invalid_ip", "value": "2001:db8:2023:685c:111f:4195:bb4a:3575"},
    "ip_not_allowed_old_wording": {"kind": "invalid_ip", "value": ": 127.0.0.1"},
    "ip_not_allowed_nvp": {"kind": "invalid_ip_as_text"},
    "ip_forbidden_wording": {"kind": "forbidden_ip"},
    "action_not_in_api_role": {"kind": "permission"},
    "action_unknown": {"kind": "unknown_action"},
    "action_file_missing": {"kind": "missing_function"},
    "action_empty": {"kind": "empty_action"},
    "status_key_instead_of_result": {"kind": "error_in_status"},
    "client_not_found": {"kind": "business_error"},
    "client_selector_missing": {"kind": "business_error", "value": "Either clientid Or email Is Required"},
    "client_id_not_found": {"kind": "business_error", "value": "Client ID Not Found"},
    "invoice_not_found": {"kind": "business_error", "value": "Invoice ID Not Found"},
    "error_without_message": {"kind": "error_without_message"},
    "version_mismatch_maintenance": {"kind": "maintenance"},
    "empty_200": {"kind": "empty"},
    "output_emitted_previously": {"kind": "output_emitted"},
    "php_fatal_500_empty": {"kind": "empty", "value": 500},
    "php_warning_before_json": {"kind": "php_warning"},
    "bom_before_json": {"kind": "bom"},
    "truncated_json": {"kind": "truncated"},
    "cloudflare_challenge": {"kind": "firewall"},
    "mod_security": {"kind": "mod_security"},
    "redirect_to_https": {"kind": "redirect"},
    "not_whmcs": {"kind": "not_found"},
    "gateway_timeout": {"kind": "gateway_timeout"},
    "web_server_password": {"kind": "basic_auth"},
    "ip_banned": {"kind": "ip_banned"},
    "ip_banned_redirect": {"kind": "ban_redirect"},
    "admin_user_required": {"kind": "admin_required"},
    "firewall_json": {"kind": "firewall_json"},
    "rate_limited_json": {"kind": "too_many_requests_json"},
    "database_page": {"kind": "database_page"},
    "login_redirect": {"kind": "login_redirect"},
}
# Faults that damage a good answer: only the damage is compared.
DAMAGE = {"php_warning_before_json", "bom_before_json", "truncated_json"}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error["name"])
async def test_fault_answers_with_the_recorded_error(answers: Answers, error: dict[str, Any]) -> None:
    api = Api("", answers, Access(1), Faults(1))
    api.faults.replace([FAULT_OF[error["name"]]])
    action = "getproductgroups" if error["name"] == "action_unknown" else "getinvoices"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="https://whmcs.test") as client:
        main = api.access.main
        form = {
            "action": action,
            "identifier": main.identifier,
            "secret": main.secret,
            "responsetype": "json",
        }
        response = await client.post("/includes/api.php", data=form)

    assert response.status_code in error["http"]
    assert response.headers.items() >= error.get("headers", {}).items()
    if error["name"] in DAMAGE:
        start = error["raw"][:1] if error["name"] == "bom_before_json" else error["raw"].partition("{")[0]
        assert response.content.decode().startswith(start)
        with pytest.raises(ValueError):  # noqa: PT011 - every parser has its own text
            orjson.loads(response.content)
    elif "raw" in error:
        assert response.text == error["raw"]
        assert response.headers["content-type"].startswith(error.get("content_type", ""))
    else:
        assert response.json() == error["body"]

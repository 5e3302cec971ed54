"""Parameters of every action are read as PHP reads them, so that a wrong call of the connector fails here, too."""

from typing import Any, Final

import pytest

from tests.unit.whmcs_simulator.conftest import Ends
from tools.whmcs_simulator.answers import ACTIONS, Answers
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.parameters import PARAMETERS, Refused

# The parameters of the official pages. WHMCS casts numbers before it tests them, and tests texts unchanged.
NUMBERS: Final = {
    "GetClients": ("limitstart", "limitnum"),
    "GetClientsProducts": ("limitstart", "limitnum", "clientid", "serviceid", "pid"),
    "GetClientsAddons": ("serviceid", "clientid", "addonid"),
    "GetClientsDomains": ("limitstart", "limitnum", "clientid", "domainid"),
    "GetProducts": ("pid", "gid"),
    "GetCancelledPackages": ("limitstart", "limitnum"),
    "GetInvoices": ("limitstart", "limitnum", "userid"),
    "GetTransactions": ("invoiceid", "clientid"),
    "GetOrders": ("limitstart", "limitnum", "id", "userid", "requestor_id"),
    "GetCredits": ("clientid",),
    "GetActivityLog": ("limitstart", "limitnum", "clientid"),
    "GetClientsDetails": ("clientid",),
    "GetInvoice": ("invoiceid",),
    "GetTLDPricing": ("currencyid", "clientid"),
    "GetStats": ("timeline_days",),
}
TEXTS: Final = {
    "GetClients": ("status", "search", "orderby", "sorting"),
    "GetClientsProducts": ("domain", "username2"),
    "GetClientsDomains": ("domain",),
    "GetProducts": ("module",),
    "GetInvoices": ("status", "orderby", "order"),
    "GetTransactions": ("transid",),
    "GetOrders": ("status",),
    "GetPromotions": ("code",),
    "GetActivityLog": ("date", "user", "description", "ipaddress"),
    "GetClientsDetails": ("email", "stats"),
    "GetAutomationLog": ("startdate", "enddate", "namespace"),
    "GetConfigurationValue": ("setting",),
}
FILTERS: Final = (
    "status",
    "search",
    "domain",
    "username2",
    "module",
    "transid",
    "code",
    "date",
    "user",
    "description",
    "ipaddress",
)
# Actions that refuse a call without their selector.
SELECTORS: Final = {
    "GetClientsDetails": {"clientid": "1"},
    "GetInvoice": {"invoiceid": "1"},
    "GetCredits": {"clientid": "1"},
    "GetConfigurationValue": {"setting": "TaxType"},
}


def pairs(table: dict[str, tuple[str, ...]], *texts: str) -> list[tuple[str, str, str]]:
    return [(action, name, text) for action, names in table.items() for name in names for text in texts]


@pytest.fixture
def answers(company: Company) -> Answers:
    return Answers(company)


def ask(answers: Answers, action: str, **parameters: str) -> Any:
    """Return the body, or the text of the refusal."""
    try:
        body = answers.answer({"action": action, **parameters})
    except Refused as refusal:
        return str(refusal)
    # The time on the server differs between two calls.
    return {name: value for name, value in body.items() if name != "currentDatetime"}


def test_every_documented_parameter_is_read() -> None:
    documented = {action.lower(): set[str]() for action in ACTIONS}
    for table in (NUMBERS, TEXTS):
        for action, names in table.items():
            documented[action.lower()] |= set(names)

    assert {action: {row.name for row in rows} for action, rows in PARAMETERS.items()} == documented


@pytest.mark.parametrize(
    ("action", "parameter", "text"), pairs(NUMBERS, "", "0", "0.00") + pairs(TEXTS, "", "0")
)
def test_parameter_that_php_finds_empty_is_absent(
    answers: Answers, action: str, parameter: str, text: str
) -> None:
    selectors = {name: value for name, value in SELECTORS.get(action, {}).items() if name != parameter}

    assert ask(answers, action, **selectors, **{parameter: text}) == ask(answers, action, **selectors)


@pytest.mark.parametrize(
    ("action", "parameter", "text"), [case for case in pairs(TEXTS, "0.00") if case[1] in FILTERS]
)
def test_zero_amount_filters_as_the_text_it_is(
    answers: Answers, action: str, parameter: str, text: str
) -> None:
    unfiltered, filtered = ask(answers, action), ask(answers, action, **{parameter: text})

    assert int(unfiltered["totalresults"]) > 0 == int(filtered["totalresults"])


@pytest.mark.parametrize("parameter", ["orderby", "sorting"])
def test_unknown_order_changes_nothing(answers: Answers, parameter: str) -> None:
    assert ask(answers, "GetClients", **{parameter: "0.00"}) == ask(answers, "GetClients")


def test_zero_amount_selects_and_switches_as_a_text(answers: Answers) -> None:
    assert ask(answers, "GetClientsDetails", email="0.00") == "Client Not Found"
    assert ask(answers, "GetConfigurationValue", setting="0.00") == "Invalid name for parameter ”setting”"
    assert "stats" in ask(answers, "GetClientsDetails", clientid="1", stats="0.00")
    assert ask(answers, "GetAutomationLog", startdate="0.00")["startdate"] == "0.00"


@pytest.mark.parametrize("text", [None, "", "0", "0.00", "none"])
@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("GetClientsDetails", "Either clientid Or email Is Required"),
        ("GetInvoice", "Required parameter ”invoiceid” was not set"),
        ("GetCredits", "Required parameter ”clientid” was not set"),
    ],
)
def test_missing_selector_is_named(answers: Answers, action: str, message: str, text: str | None) -> None:
    (selector,) = SELECTORS[action]

    assert ask(answers, action, **({} if text is None else {selector: text})) == message


@pytest.mark.parametrize("action", ["GetClientsProducts", "GetClientsDomains", "GetInvoices"])
def test_page_from_0_is_the_first_page(answers: Answers, action: str) -> None:
    first = ask(answers, action, limitnum="5")

    assert ask(answers, action, limitnum="5", limitstart="0") == first
    assert ask(answers, action, limitnum="5", limitstart="5") != first


@pytest.mark.parametrize("action", ["", "0"])
async def test_empty_action_is_named(ends: Ends, action: str) -> None:
    response = await ends.post(action=action)

    assert (response.status_code, response.json()["message"]) == (400, "Empty action request")


@pytest.mark.parametrize("empty", ["", "0"])
@pytest.mark.parametrize(("name", "older_name"), [("identifier", "username"), ("secret", "password")])
async def test_empty_credential_gives_way_to_its_older_name(
    ends: Ends, name: str, older_name: str, empty: str
) -> None:
    main = ends.api.access.main

    answer = await ends.call("GetCurrencies", **{name: empty, older_name: getattr(main, name)})
    refusal = await ends.call("GetCurrencies", **{name: empty})

    assert answer["result"] == "success"
    assert refusal["message"] == "Authentication Failed"

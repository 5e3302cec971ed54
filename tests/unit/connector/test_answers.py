"""An answer of a WHMCS becomes rows or a code of the error table, whatever its shape."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.failures import FAILURES
from services.connector.whmcs import answers
from services.connector.whmcs.answers import Call, Response, WhmcsError
from services.connector.whmcs.entities import LISTS, ListAction

ERRORS = json.loads((Path(__file__).parents[2] / "contract" / "whmcs" / "errors.json").read_text())["errors"]
CODES = {
    "credentials": "credentials_rejected",
    "permission": "permission_missing",
    "ip": "ip_not_allowed",
    "unsupported_action": "action_unsupported",
    "caller_bug_or_lost_body": "not_whmcs_api",
    "caller_bug": "bad_response",
    "not_found": "not_found",
    "site_fault_one_action": "server_error",
    "blocked_by_proxy": "blocked_by_firewall",
    "redirect": "redirected",
    "wrong_url": "not_whmcs_api",
    "password": "password_required",
    "banned": "ip_banned",
    "admin": "admin_missing",
    "rate_limited": "rate_limited",
}
CODES_BY_NAME = {
    "status_key_instead_of_result": "not_found",
    "error_without_message": "bad_response",
    "version_mismatch_maintenance": "maintenance",
    "empty_200": "bad_response",
    "php_fatal_500_empty": "server_error",
    "truncated_json": "bad_response",
    "gateway_timeout": "server_error",
}


def read(
    status: int, headers: dict[str, str], content: bytes, action: str = "GetClients", **more: Any
) -> answers.WhmcsAnswer:
    return answers.read(Response(status, headers, bytearray(content)), Call(action, **more))


def failure(status: int, headers: dict[str, str], content: bytes, **more: Any) -> WhmcsError:
    with pytest.raises(WhmcsError) as caught:
        read(status, headers, content, **more)
    return caught.value


def content_of(error: dict[str, Any]) -> bytes:
    return error["raw"].encode() if "raw" in error else orjson.dumps(error["body"])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(error, status, id=f"{error['name']}-{status}")
        for error in ERRORS
        if error["class"] != "parse"
        for status in error["http"]
    ],
)
def test_known_failure_has_its_code(error: dict[str, Any], status: int) -> None:
    headers = {name.lower(): value for name, value in error.get("headers", {}).items()}

    with pytest.raises(WhmcsError) as caught:
        read(status, headers, content_of(error), url="https://billing.example.org")

    assert caught.value.code == CODES_BY_NAME.get(error["name"], CODES.get(error["class"]))


@pytest.mark.parametrize(
    "error", [error for error in ERRORS if error["class"] == "parse"], ids=lambda error: error["name"]
)
def test_noise_before_the_json_does_not_matter(error: dict[str, Any]) -> None:
    assert read(200, {}, content_of(error)).body["result"] == "success"


@pytest.mark.parametrize("action", LISTS, ids=lambda action: action.action)
def test_all_shapes_of_a_list_have_the_same_rows(action: ListAction) -> None:
    row = {"id": "1", "name": "x"}

    for shape in (
        {action.plural: {action.singular: [row]}},
        {action.plural: {action.singular: {"0": row}}},
        {action.plural: {action.singular: row}},
        {action.plural: [row]},
        {f"{action.plural}[{action.singular}][0][{name}]": value for name, value in row.items()},
    ):
        assert answers.rows(shape, action.plural, action.singular) == [row]


@pytest.mark.parametrize("nothing", ["", [], {}, None, {"product": []}, {"product": ""}])
def test_empty_list_of_any_shape_has_no_rows(nothing: Any) -> None:
    assert answers.rows({"products": nothing}, "products", "product") == []
    assert answers.rows({}, "products", "product") == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda child: st.lists(child, max_size=3) | st.dictionaries(st.text(max_size=5), child, max_size=3),
    )
)
def test_any_json_is_rows_or_a_bad_response(value: Any) -> None:
    def read() -> list[Any] | str:
        try:
            return answers.rows({"products": value}, "products", "product")
        except WhmcsError as error:
            return error.code

    rows = read()

    assert rows == "bad_response" or all(isinstance(row, dict) for row in rows)


GRANTED = (
    {"result": "error", "message": "Client Not Found"},
    {"status": "error", "message": "Invoice ID Not Found"},
    {"result": "error", "message": "Client ID is required"},
    {"result": "error", "message": "Something that no page documents"},
    {"result": "error"},
)


@pytest.mark.parametrize("body", GRANTED, ids=lambda body: body.get("message", "no message"))
def test_other_answers_of_whmcs_prove_the_right(body: dict[str, Any]) -> None:
    with pytest.raises(WhmcsError) as caught:
        read(200, {}, orjson.dumps(body), "GetInvoice")

    assert caught.value.is_granted


def test_wrong_parameter_proves_the_right_with_400_too() -> None:
    with pytest.raises(WhmcsError) as caught:
        read(400, {}, b'{"result": "error", "message": "Client ID is required"}', "GetInvoice")

    assert caught.value.is_granted


NOT_GRANTED = (
    b'{"message": "Blocked by the firewall"}',
    b'{"status": 403, "message": "Client Not Found"}',
    b'{"result": "error", "message": "Client Not',
    b"<html>Client Not Found</html>",
    b"",
    *(
        content_of(error)
        for error in ERRORS
        if error["class"] in ("credentials", "permission", "ip", "unsupported_action", "admin")
    ),
)


@pytest.mark.parametrize("content", NOT_GRANTED)
def test_refused_rights_and_foreign_answers_prove_nothing(content: bytes) -> None:
    with pytest.raises(WhmcsError) as caught:
        read(200, {}, content, "GetInvoice")

    assert not caught.value.is_granted


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (403, b'{"result": "error", "message": "The API is closed to you"}'),
        (404, b'{"status": "error", "message": "No such page"}'),
    ],
)
def test_refusal_by_status_proves_nothing_in_new_words(status: int, content: bytes) -> None:
    with pytest.raises(WhmcsError) as caught:
        read(status, {}, content, "GetInvoice")

    assert not caught.value.is_granted


FIREWALL = b'{"message":"Access denied by Imunify360 bot-protection."}'
DATABASE = b"<html><h1>Error establishing a database connection</h1></html>"


@pytest.mark.parametrize(
    ("status", "headers", "content", "code"),
    [
        (401, {"www-authenticate": "Basic"}, b"<h1>401</h1>", "password_required"),
        (401, {}, b"<h1>401</h1>", "blocked_by_firewall"),
        (403, {}, b'{"result":"error","message":"IP Banned"}', "ip_banned"),
        (200, {}, b"<h1>Your IP address has been banned</h1>", "ip_banned"),
        (302, {"location": "/banned.php"}, b"", "ip_banned"),
        (200, {}, b'{"result":"error","message":"An admin user is required"}', "admin_missing"),
        (200, {}, FIREWALL, "blocked_by_firewall"),
        (403, {}, FIREWALL, "blocked_by_firewall"),
        (415, {}, FIREWALL, "blocked_by_firewall"),
        (500, {}, FIREWALL, "server_error"),
        (429, {}, b"<h1>Slow down</h1>", "rate_limited"),
        (429, {}, b'{"result":"error","message":"Too many"}', "rate_limited"),
        (429, {}, b'{"status":429,"message":"Too many"}', "rate_limited"),
        (408, {}, b"", "server_error"),
    ],
)
def test_foreign_answer_has_its_own_code(
    status: int, headers: dict[str, str], content: bytes, code: str
) -> None:
    assert failure(status, headers, content).code == code
    assert failure(status, headers, content, has_answered=True).code == code


@pytest.mark.parametrize(
    ("status", "content"),
    [(200, DATABASE), (404, b"<h1>Not found</h1>"), (200, b"[]"), (400, b"Bad Request")],
)
def test_folder_is_asked_for_only_before_the_first_answer(status: int, content: bytes) -> None:
    before = failure(status, {}, content)
    after = failure(status, {}, content, has_answered=True)

    assert (before.code, before.is_transient) == ("not_whmcs_api", False)
    assert (after.code, after.detail, after.is_transient) == ("server_error", str(status), True)


def test_form_that_was_lost_blames_no_folder_afterwards() -> None:
    content = b'{"result":"error","message":"Empty action request"}'

    assert failure(400, {}, content).code == "not_whmcs_api"
    assert failure(400, {}, content, has_answered=True).code == "bad_response"


@pytest.mark.parametrize(
    ("location", "detail"),
    [
        ("https://www.example.com/whmcs/includes/api.php", "https://www.example.com/whmcs"),
        ("https://example.com/billing/includes/api.php", "https://example.com/billing"),
        ("http://example.com/billing/", "https://example.com/billing"),
        ("//shop.example.com/", "https://shop.example.com"),
    ],
)
def test_redirect_names_the_address_to_enter(location: str, detail: str) -> None:
    error = failure(302, {"location": location}, b"", url="https://example.com/whmcs")

    assert (error.code, error.detail) == ("redirected", detail)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/whmcs/login",
        "../index.php?rp=/login",
        "http://example.com/whmcs/includes/api.php",
        "https://[",
        "mailto:x",
        "/whmcs/admin/licenseerror.php",
        "https://u:p@example.com/",
    ],
)
def test_redirect_that_leads_nowhere_else_is_no_address(location: str) -> None:
    headers = {"location": location}

    assert failure(302, headers, b"", url="https://example.com/whmcs").code == "not_whmcs_api"
    assert (
        failure(302, headers, b"", url="https://example.com/whmcs", has_answered=True).code == "server_error"
    )


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("²", None),
        ("-1", None),
        ("Sat, 30 Nov 10000000000000", None),
        ("9" * 400, None),
        ("999999999", 86400.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_kept_or_ignored(status: int, written: str, seconds: float | None) -> None:
    assert failure(status, {"retry-after": written}, b"").retry_after == seconds


@pytest.mark.parametrize(
    ("written", "count"),
    [
        (7, 7),
        ("7", 7),
        (" 7", 7),
        ("²", None),
        ("9" * 400, None),
        ("9" * 5000, None),
        (-1, None),
        (1e300, None),
        (None, None),
        ([], None),
        ("", None),
        (10**13, None),
        (True, None),
        (7.0, None),
        ("1_0", None),
        ("+7", None),
        ("٣", None),
        (" 7 ", 7),
    ],
)
def test_total_is_a_count_or_missing(written: Any, count: int | None) -> None:
    assert answers.total({"totalresults": written}) == count


def test_keys_of_any_length_are_no_error() -> None:
    long = "9" * 5000
    flat = {f"products[product][{long}][id]": 1, "products[product][0][id]": 2}

    assert answers.rows({"products": {"product": {long: {"id": 1}}}}, "products", "product") == [{"id": 1}]
    assert answers.rows(flat, "products", "product") == [{"id": 2}]
    assert answers.rows({"products": {"product": {"²": {"id": 1}}}}, "products", "product") == [
        {"²": {"id": 1}}
    ]


def test_what_is_no_row_in_a_list_becomes_an_empty_row() -> None:
    body = {"products": {"product": [{"id": 1}, None, "x", [2]]}}

    assert answers.rows(body, "products", "product") == [{"id": 1}, {}, {}, {}]


@given(
    st.sampled_from([200, 400, 401, 403, 404, 415, 429, 500, 503]) | st.integers(200, 599),
    st.binary(max_size=80)
    | st.sampled_from([FIREWALL, DATABASE, b'{"result":"success"}', b'{"result":"error"}']),
    st.booleans(),
    st.dictionaries(st.sampled_from(["location", "retry-after", "www-authenticate"]), st.text(max_size=20)),
)
def test_any_response_is_an_answer_or_a_code_that_people_see(
    status: int, content: bytes, has_answered: bool, headers: dict[str, str]
) -> None:
    try:
        code = str(read(status, headers, content, has_answered=has_answered).body["result"])
    except WhmcsError as error:
        code = error.code

    assert code in {"success", *FAILURES}
    assert not (has_answered and code == "not_whmcs_api")

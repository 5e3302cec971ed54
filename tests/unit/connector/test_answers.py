"""An answer of a WHMCS becomes rows or a code of the error table, whatever its shape."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connector.whmcs import answers
from services.connector.whmcs.answers import WhmcsError
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
        answers.read(status, headers, content_of(error), "GetClients")

    assert caught.value.code == CODES_BY_NAME.get(error["name"], CODES.get(error["class"]))


@pytest.mark.parametrize(
    "error", [error for error in ERRORS if error["class"] == "parse"], ids=lambda error: error["name"]
)
def test_noise_before_the_json_does_not_matter(error: dict[str, Any]) -> None:
    assert answers.read(200, {}, content_of(error), "GetClients")["result"] == "success"


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
        answers.read(200, {}, orjson.dumps(body), "GetInvoice")

    assert caught.value.is_granted


def test_wrong_parameter_proves_the_right_with_400_too() -> None:
    with pytest.raises(WhmcsError) as caught:
        answers.read(400, {}, b'{"result": "error", "message": "Client ID is required"}', "GetInvoice")

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
        if error["class"] in ("credentials", "permission", "ip", "unsupported_action")
    ),
)


@pytest.mark.parametrize("content", NOT_GRANTED)
def test_refused_rights_and_foreign_answers_prove_nothing(content: bytes) -> None:
    with pytest.raises(WhmcsError) as caught:
        answers.read(200, {}, content, "GetInvoice")

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
        answers.read(status, {}, content, "GetInvoice")

    assert not caught.value.is_granted

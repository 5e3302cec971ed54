"""Errors as problem documents."""

import json
from typing import Any

import pytest
from fastapi import Request
from starlette.exceptions import HTTPException

from services.gateway.errors import (
    Invalid,
    NotFound,
    RequestError,
    TooMany,
    Unauthenticated,
    raise_first,
)
from services.gateway.problems import document, of_http

REQUEST = Request({"type": "http", "path": "/api/v1/me", "headers": [], "state": {"request_id": "r1"}})


def body(error: RequestError, **members: object) -> dict[str, Any]:
    document_body: dict[str, Any] = json.loads(document(REQUEST, error, **members).body)
    return document_body


def test_document_has_the_members_of_rfc_9457() -> None:
    assert body(NotFound("sync_not_found", "There is no such sync.")) == {
        "type": "urn:mrrlytics:problem:sync_not_found",
        "title": "Sync not found",
        "status": 404,
        "code": "sync_not_found",
        "detail": "There is no such sync.",
        "request_id": "r1",
    }


def test_every_wrong_field_is_listed() -> None:
    with pytest.raises(Invalid) as refused:
        raise_first([Invalid("name_invalid", "Short.", "name"), Invalid("url_invalid", "Odd.", "url")])

    assert body(refused.value)["field"] == "name"
    assert [error["field"] for error in body(refused.value)["errors"]] == ["name", "url"]


def test_single_wrong_field_has_no_list() -> None:
    assert "errors" not in body(Invalid("name_invalid", "Short.", "name"))


def test_more_members_are_added() -> None:
    assert body(Invalid("check_failed", "No."), instance_id="i")["instance_id"] == "i"


@pytest.mark.parametrize(
    ("error", "name", "value"),
    [
        (TooMany("busy", "Wait.", retry_after=5), "retry-after", "5"),
        (Unauthenticated("not_signed_in", "Sign in."), "www-authenticate", "Bearer"),
    ],
)
def test_error_brings_its_header(error: RequestError, name: str, value: str) -> None:
    assert document(REQUEST, error).headers[name] == value


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "unreadable"), (404, "not_found"), (408, "too_slow"), (413, "too_large"), (418, "refused")],
)
def test_errors_of_the_framework_get_our_codes(status: int, code: str) -> None:
    error = of_http(REQUEST, HTTPException(status, "words of a library"))

    assert (error.status, error.code) == (status, code)
    assert "words of a library" not in error.message

"""Cookies are bound to the host and hidden from scripts."""

from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import pytest
from fastapi import Request
from starlette.responses import Response

from services.gateway import cookies
from services.gateway.context import Context


def context(*, is_local: bool) -> Context:
    return cast(Context, SimpleNamespace(settings=SimpleNamespace(is_local=is_local)))


@pytest.mark.parametrize(("is_local", "name"), [(True, "mrr_flag"), (False, "__Host-mrr_flag")])
def test_cookie_comes_back_under_its_name(is_local: bool, name: str) -> None:
    answer = Response()
    cookies.put(answer, context(is_local=is_local), "flag", "value", timedelta(minutes=1))
    [cookie, *attributes] = answer.headers["set-cookie"].split("; ")
    request = Request({"type": "http", "headers": [(b"cookie", cookie.encode())]})

    assert cookie == f"{name}=value"
    assert cookies.read(request, context(is_local=is_local), "flag") == "value"
    assert ("Secure" in attributes) is not is_local
    assert {"HttpOnly", "SameSite=lax", "Max-Age=60"} <= set(attributes)


def test_deleted_cookie_ends_at_once() -> None:
    answer = Response()

    cookies.delete(answer, context(is_local=False), "flag")

    assert "Max-Age=0" in answer.headers["set-cookie"]

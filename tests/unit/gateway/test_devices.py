"""Browsers that an account has signed in with."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

from fastapi import Request
from starlette.responses import Response

from services.gateway.context import Context
from services.gateway.devices import mark_device, recognized_device

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def context_at(now: datetime, key: bytes = b"k" * 32) -> Context:
    settings = SimpleNamespace(is_local=False)
    return cast(Context, SimpleNamespace(settings=settings, session_key=key, clock=lambda: now))


def marked(email: str) -> str:
    """The cookie that a browser gets."""
    answer = Response()
    mark_device(answer, context_at(NOW), email)
    return answer.headers["set-cookie"].partition(";")[0]


def recognized(cookie: str, email: str, context: Context) -> bool:
    request = Request({"type": "http", "headers": [(b"cookie", cookie.encode())]})
    return recognized_device(request, context, email) is not None


def test_browser_is_recognized_only_for_its_account() -> None:
    cookie = marked("owner@example.com")

    assert recognized(cookie, " Owner@Example.com", context_at(NOW))
    assert not recognized(cookie, "other@example.com", context_at(NOW))


def test_browser_is_recognized_for_180_days() -> None:
    cookie = marked("owner@example.com")

    assert recognized(cookie, "owner@example.com", context_at(NOW + timedelta(days=179)))
    assert not recognized(cookie, "owner@example.com", context_at(NOW + timedelta(days=180)))


def test_forged_cookie_is_not_recognized() -> None:
    cookie = marked("owner@example.com")

    assert not recognized(cookie, "owner@example.com", context_at(NOW, key=b"other" * 8))
    assert not recognized("__Host-mrr_device=device.1.proof", "owner@example.com", context_at(NOW))
    assert not recognized("", "owner@example.com", context_at(NOW))

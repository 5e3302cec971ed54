"""What a request asks for."""

import pytest
from fastapi import Request

from services.gateway.requests import host_of, is_api, is_stream, target


def request(path: str = "/", query: str = "", **headers: str) -> Request:
    return Request(
        {
            "type": "http",
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("mrr.example.com", "mrr.example.com"),
        ("MRR.example.com:8443", "mrr.example.com"),
        ("[::1]:8080", "::1"),
        ("[::1", None),
        ("", None),
    ],
)
def test_host_is_read_without_its_port(host: str, name: str | None) -> None:
    assert host_of(request(host=host)) == name


def test_target_is_path_and_query() -> None:
    assert target(request("/o/nimbus/", "on=2026-11-29")) == "/o/nimbus/?on=2026-11-29"
    assert target(request("/o/nimbus/")) == "/o/nimbus/"


def test_api_and_streams_are_told_from_pages() -> None:
    assert is_api(request("/api/v1/me"))
    assert not is_api(request("/apis"))
    assert is_stream(request(accept="text/event-stream"))
    assert not is_stream(request(accept="text/html"))

"""Reads from a request its path and host, and whether a program or a person sent it."""

from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

API_PREFIX: Final = "/api/v1"
_API: Final = "/api/"


def is_api(request: Request) -> bool:
    """Return whether the request is to the API, which answers with JSON; all else is pages."""
    path: str = request.scope["path"]
    return path.startswith(_API)


def is_stream(request: Request) -> bool:
    """Return whether a script asks for server-sent events, not a person for a page."""
    return "text/event-stream" in request.headers.get("accept", "")


def target(request: Request) -> str:
    """Return the path and the query that were asked for; the host is never taken from the request."""
    path: str = request.scope["path"]
    query = request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def host_of(request: Request) -> str | None:
    """Return the host in the request, without its port; None when it is missing or not valid."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return None

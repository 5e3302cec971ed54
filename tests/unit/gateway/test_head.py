"""HEAD answers as GET does, without the body."""

import asyncio
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from services.gateway.head import AnswersHead


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"seen as {request.method}", headers={"X-Page": "yes"})


async def stream(_: Request) -> StreamingResponse:
    async def endless() -> AsyncIterator[str]:
        while True:
            await asyncio.sleep(0)
            yield "again\n"

    return StreamingResponse(endless())


def client() -> httpx.AsyncClient:
    app = AnswersHead(Starlette(routes=[Route("/page", page), Route("/stream", stream)]))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    async with client() as browser:
        get, head = await browser.get("/page"), await browser.head("/page")

    assert (head.status_code, head.text) == (200, "")
    assert head.headers == get.headers
    assert get.text == "seen as GET"


async def test_head_of_a_stream_ends() -> None:
    async with client() as browser:
        head = await browser.head("/stream")

    assert (head.status_code, head.text) == (200, "")

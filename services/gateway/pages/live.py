"""Streams of server-sent events that keep one fragment of a page up to date."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from fastapi.responses import Response, StreamingResponse

from services.gateway.pages.rendering import fragment
from services.gateway.streams import EventStream

_POLL_SECONDS: Final = 0.5
# A stream ends after this long and the browser connects again, so that a stop never waits for it.
_STREAM_SECONDS: Final = 25.0
_DONE: Final = "event: done\ndata: done\n\n"


async def live(look: Callable[[], Awaitable[tuple[str, bool]]]) -> StreamingResponse:
    """Return a stream that sends a fragment each time it changes, then `done`.

    `look` returns the HTML and whether it is the last one; what it raises on its first call becomes the answer.
    Every event holds the whole fragment, so a connection that breaks loses nothing.
    """
    html, is_last = await look()
    return EventStream(_watch(html, is_last, look))


def signed_out_stream() -> Response:
    """Return a stream that says once that the session has ended, so that the browser does not ask again and again."""
    return Response(_event(fragment("_signed_out.html")) + _DONE, media_type="text/event-stream")


async def _watch(
    html: str, is_last: bool, look: Callable[[], Awaitable[tuple[str, bool]]]
) -> AsyncIterator[str]:
    sent = ""
    for _ in range(int(_STREAM_SECONDS / _POLL_SECONDS)):
        if html != sent:
            sent = html
            yield _event(html)
        if is_last:
            yield _DONE
            return
        await asyncio.sleep(_POLL_SECONDS)
        html, is_last = await look()


def _event(html: str) -> str:
    return "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"

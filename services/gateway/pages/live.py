"""Streams of server-sent events that keep one fragment of a page up to date."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple

from fastapi.responses import Response, StreamingResponse

from services.gateway.pages.rendering import fragment
from services.gateway.streams import EventStream

_POLL_SECONDS: Final = 0.5
# A stream ends after this long and the browser connects again, so that a stop never waits for it.
_STREAM_SECONDS: Final = 25.0
_DONE: Final = "event: done\ndata: done\n\n"


class Snapshot(NamedTuple):
    """The HTML of a fragment now. `is_last`: it will not change again."""

    html: str
    is_last: bool


Look = Callable[[], Awaitable[Snapshot]]


async def live(look: Look) -> StreamingResponse:
    """Return a stream that sends a fragment each time it changes, then `done`.

    An error that `look` raises on its first call becomes the answer. Every event contains the whole fragment, so a connection that breaks
    loses nothing.
    """
    return EventStream(_watch(await look(), look))


def signed_out_stream() -> Response:
    """Return a stream that says once that the session has ended, so that the browser does not connect again."""
    return Response(_event(fragment("_signed_out.html")) + _DONE, media_type="text/event-stream")


async def _watch(snapshot: Snapshot, look: Look) -> AsyncIterator[str]:
    sent = ""
    for _ in range(int(_STREAM_SECONDS / _POLL_SECONDS)):
        if snapshot.html != sent:
            sent = snapshot.html
            yield _event(sent)
        if snapshot.is_last:
            yield _DONE
            return
        await asyncio.sleep(_POLL_SECONDS)
        snapshot = await look()


def _event(html: str) -> str:
    return "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"

"""Server-sent events, with limits on the open streams of a caller, of an organization, and in total."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.gateway.context import Context
from services.gateway.errors import TooMany
from services.gateway.principals import Principal

# Each stream reads the database twice a second. Two organizations together cannot use up the total.
_OF_CALLER: Final = 6
_OF_ORGANIZATION: Final = 20
_IN_ALL: Final = 60


class EventStream(StreamingResponse):
    """An answer that sends each text of `events` as it comes; it raises TooMany when too many streams are open."""

    def __init__(self, events: AsyncIterator[str]) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream and count it while it is open. An error before its first byte is answered as usual."""
        context: Context = scope["app"].state.context
        with _counted(context.open_streams, scope["state"]["principal"]):
            await super().__call__(scope, receive, send)


@contextmanager
def _counted(streams: Counter[object], principal: Principal) -> Iterator[None]:
    limits = {
        principal.session_id or (principal.organization_id, principal.actor): _OF_CALLER,
        principal.organization_id: _OF_ORGANIZATION,
        "all": _IN_ALL,
    }
    for owner, most in limits.items():
        if streams[owner] >= most:
            raise TooMany(
                "too_many_streams",
                f"{most} live connections are open already. Close one, or ask for the state instead.",
                retry_after=25,
            )
    streams.update(limits.keys())
    try:
        yield
    finally:
        streams.subtract(limits.keys())
        for owner in limits:
            if not streams[owner]:
                del streams[owner]

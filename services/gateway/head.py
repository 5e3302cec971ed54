"""HEAD requests: they get the status and headers of GET without its body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class AnswersHead:
    """Let `app` handle HEAD as GET, and send its answer without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        is_answered = False

        async def send_headers_alone(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                await send(message)
            elif not is_answered:
                is_answered = True
                await send({"type": "http.response.body", "body": b""})

        async def receive_until_answered() -> Message:
            # A stream of events never ends by itself: report that the caller has disconnected.
            return {"type": "http.disconnect"} if is_answered else await receive()

        await self._app({**scope, "method": "GET"}, receive_until_answered, send_headers_alone)

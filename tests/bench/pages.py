"""A WHMCS that makes each answer once and then serves it from memory: `python -m tests.bench.pages`.

So no measurement includes the making of answers, and equal calls get equal bytes.
"""

import argparse
import gc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from tools.whmcs_simulator.access import Access
from tools.whmcs_simulator.answers import Answers
from tools.whmcs_simulator.certificates import server_context
from tools.whmcs_simulator.faults import Faults
from tools.whmcs_simulator.life import build_company
from tools.whmcs_simulator.server import Api, Receive, Scope, Send

SEED = 1
FOLDER = "/whmcs"


class CachedApi:
    """The simulator behind a cache: an equal request gets the stored answer."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._answers: dict[bytes, list[Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await _whole(receive)
        key = bytes(request["body"])
        if key not in self._answers:
            self._answers[key] = await self._ask(scope, request)
        for message in self._answers[key]:
            await send(dict(message))

    async def _ask(self, scope: Scope, request: dict[str, Any]) -> list[Any]:
        answer: list[Any] = []

        async def receive() -> dict[str, Any]:
            return request

        async def send(message: Any) -> None:
            answer.append(message)

        await self._api(scope, receive, send)
        return answer


async def _whole(receive: Receive) -> dict[str, Any]:
    """Return the request as one message."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return {"type": "http.request", "body": body, "more_body": False}


def serve(state: Path, port: int, customers: int, years: int) -> None:
    """Serve a company over TLS, with the simulator's certificates and its first credential."""
    company = build_company(SEED, customers, years, datetime.now(UTC).date())
    gc.freeze()
    api = Api(FOLDER, Answers(company), Access(SEED), Faults(SEED))
    tls = server_context(state, "good", "1.3")
    config = uvicorn.Config(
        CachedApi(api),
        host="127.0.0.1",
        port=port,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=30,
        ssl_context_factory=lambda _, __: tls,
    )
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.bench.pages", description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    for name in ("--port", "--customers", "--years"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args()
    serve(given.state, given.port, given.customers, given.years)

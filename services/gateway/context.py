"""What every use case of the gateway works with, built once in app.py."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from libs.common.crypto import Keyring
from services.gateway.rate_limits import RateLimits
from services.gateway.settings import Settings
from services.gateway.workers import Lane, Workers

# The role that sees across organizations, for what the gateway does for itself.
SYSTEM: Final = "gateway_system"


@dataclass(frozen=True, slots=True)
class Context:
    """`session_key` signs the forms of sessions; `keyring` seals credentials.

    A password takes 20 MiB while it is hashed. `answer_workers` make large answers, one at a time: Python computes with one
    thread, and a second would only keep the event loop waiting longer. The pool has ten connections to the database:
    whoever has not opened anything yet shares the three of `door`, questions about figures the three of `reading`, so that
    neither keeps the others waiting.
    """

    settings: Settings
    engine: AsyncEngine
    clock: Clock
    keyring: Keyring = field(repr=False)
    session_key: bytes = field(repr=False)
    rate_limits: RateLimits = field(default_factory=RateLimits)
    open_streams: Counter[object] = field(default_factory=Counter)
    door: Lane = field(default_factory=lambda: Lane(3))
    reading: Lane = field(default_factory=lambda: Lane(3))
    password_workers: Workers = field(default_factory=lambda: Workers("passwords", threads=2, waiting=20))
    answer_workers: Workers = field(default_factory=lambda: Workers("answers", threads=1, waiting=20))


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


ContextDependency = Annotated[Context, Depends(_context)]

"""The objects that every use case of the gateway needs. app.py builds them once."""

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

# The role that sees all organizations, for work of the gateway that belongs to none.
SYSTEM: Final = "gateway_system"


@dataclass(frozen=True, slots=True)
class Context:
    """`session_key` signs the forms of sessions; `keyring` seals credentials.

    Hashing a password takes 20 MiB, so `password_workers` are few. `answer_workers` make large answers, one at a time: Python
    computes with one thread, and a second would only delay the event loop longer. The pool has ten connections to the
    database. Callers with an unproven session or token share three of them (`stranger_lane`), questions about figures
    three others (`figures_lane`), so that neither delays the rest.
    """

    settings: Settings
    engine: AsyncEngine
    clock: Clock
    keyring: Keyring = field(repr=False)
    session_key: bytes = field(repr=False)
    rate_limits: RateLimits = field(default_factory=RateLimits)
    open_streams: Counter[object] = field(default_factory=Counter)
    stranger_lane: Lane = field(default_factory=lambda: Lane(3))
    figures_lane: Lane = field(default_factory=lambda: Lane(3))
    password_workers: Workers = field(default_factory=lambda: Workers("passwords", threads=2, waiting=20))
    answer_workers: Workers = field(default_factory=lambda: Workers("answers", threads=1, waiting=20))


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


ContextDependency = Annotated[Context, Depends(_context)]

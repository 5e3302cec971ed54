"""The statements of the gateway, by subject. They work in the caller's transaction and never commit.

Row-level security shows them one organization, the caller's; a statement across organizations says so and needs the role SYSTEM.
Short statements are built with SQLAlchemy from `tables.py`, long ones are text. Rows leave as frozen dataclasses.
"""

from services.gateway.repository import (
    attempts,
    audit,
    checks,
    credentials,
    definitions,
    events,
    idempotency,
    instances,
    locks,
    organizations,
    outbox,
    records,
    retention,
    runs,
    sessions,
    setup_links,
    syncs,
    tokens,
    users,
)

__all__ = [
    "attempts",
    "audit",
    "checks",
    "credentials",
    "definitions",
    "events",
    "idempotency",
    "instances",
    "locks",
    "organizations",
    "outbox",
    "records",
    "retention",
    "runs",
    "sessions",
    "setup_links",
    "syncs",
    "tokens",
    "users",
]

"""The gateway's application on a real database, asked over ASGI; what the connector would say is handed to the handlers."""

import base64
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.message import Message
from libs.common.contracts.received import Received
from libs.common.crypto import Keyring
from libs.common.database import build_engine
from libs.common.settings import PostgresSettings
from services.gateway import admission, events, first_account
from services.gateway.app import build_app
from services.gateway.context import Context
from services.gateway.instances import checks
from services.gateway.settings import Settings
from services.gateway.slugs import slug_of
from tests.servers import Database

ADDRESS = "http://127.0.0.1:8080"
PASSWORD = "a calm sentence that nobody else uses"
NEW = {
    "name": "Main",
    "url": "billing.example.com",
    "identifier": "identifier-1234",
    "secret": "the-api-secret",
}


@dataclass
class Clock:
    """A clock that tests set."""

    now: datetime = field(default_factory=lambda: datetime(2026, 3, 1, 12, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **how_far: float) -> None:
        self.now += timedelta(**how_far)


@dataclass
class Gateway:
    """The application, its clock, and the database as the superuser sees it."""

    context: Context
    clock: Clock
    admin: AsyncEngine
    app: Any

    def client(self, address: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
        """Return a new browser or program at this network address."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url=ADDRESS, headers=headers)

    async def owner(self, email: str = "owner@example.com", organization: str = "Nimbus") -> "Person":
        """Return the owner of the first organization, signed in through the one-time link."""
        link = await first_account.setup_link(self.context)
        assert link is not None
        client = self.client(origin=ADDRESS)
        form = {"organization": organization, "email": email, "password": PASSWORD}
        answer = await client.post(link, data=form)
        assert answer.status_code == 303, answer.text
        return await self.person(client, email)

    async def member(self, email: str, organization_id: UUID, role: str) -> "Person":
        """Return a new user with this role in an organization, signed in."""
        async with self.admin.begin() as connection:
            password_hash = (
                await connection.execute(text("SELECT password_hash FROM gateway.users LIMIT 1"))
            ).scalar()
            user = {"id": uuid4(), "email": email, "hash": password_hash}
            await connection.execute(
                text("INSERT INTO gateway.users (user_id, email, password_hash) VALUES (:id, :email, :hash)"),
                user,
            )
            await connection.execute(
                text(
                    "INSERT INTO gateway.memberships (organization_id, user_id, role) VALUES (:organization, :id, :role)"
                ),
                {"organization": organization_id, "id": user["id"], "role": role},
            )
        return await self.signed_in(email)

    async def signed_in(self, email: str) -> "Person":
        client = self.client(origin=ADDRESS)
        answer = await client.post("/sign-in", data={"email": email, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return await self.person(client, email)

    async def person(self, client: httpx.AsyncClient, email: str) -> "Person":
        """Return the user of this browser in the user's first organization."""
        [(organization_id, slug)] = await self.execute(
            """SELECT o.organization_id, o.slug FROM gateway.memberships m JOIN gateway.users u USING (user_id)
            JOIN gateway.organizations o USING (organization_id)
            WHERE u.email = :email ORDER BY o.is_demo, o.created_at LIMIT 1""",
            email=email,
        )
        return Person(client, organization_id, email, f"/o/{slug}")

    async def join(self, email: str, organization_id: UUID, role: str) -> None:
        """Make a user a member of another organization."""
        await self.execute(
            """INSERT INTO gateway.memberships (organization_id, user_id, role)
            SELECT :organization, user_id, :role FROM gateway.users WHERE email = :email""",
            organization=organization_id,
            email=email,
            role=role,
        )

    async def organization(self, name: str) -> UUID:
        """Store another organization, without members."""
        made = uuid4()
        await self.execute(
            "INSERT INTO gateway.organizations (organization_id, name, slug) VALUES (:id, :name, :slug)",
            id=made,
            name=name,
            slug=slug_of(name),
        )
        return made

    async def execute(self, statement: str, **values: Any) -> list[Any]:
        """Execute a statement as the superuser; return its rows."""
        async with self.admin.begin() as connection:
            done = await connection.execute(text(statement), values)
            return list(done.all()) if done.returns_rows else []

    async def receive(
        self, organization_id: UUID, instance_id: UUID, event: Message, message_id: str | None = None
    ) -> None:
        """Receive an event of the connector."""
        name, message_id = type(event).__name__, message_id or uuid4().hex
        await events.follow(
            self.context,
            Received(event, name, message_id, InstanceKey(organization_id, instance_id), {}, self.clock.now),
        )

    async def sent(self, topic: str) -> list[dict[str, Any]]:
        """Return the bodies of the messages in the outbox, in order."""
        rows = await self.execute(
            "SELECT body FROM gateway.outbox WHERE topic = :topic ORDER BY id", topic=topic
        )
        return [json.loads(row[0]) for row in rows]


@dataclass
class Person:
    """A signed-in person with a browser; the pages of the organization are below `home`."""

    client: httpx.AsyncClient
    organization_id: UUID
    email: str
    home: str = "/o/nimbus"

    async def open(self, path: str) -> httpx.Response:
        """Ask for a page of the organization."""
        return await self.client.get(f"{self.home}{path}")

    async def csrf(self) -> str:
        """Return the token that the forms of this session contain."""
        page = await self.open("/settings/instances")
        return page.text.split('name="csrf_token" value="')[1].split('"')[0]

    async def post(self, path: str, **fields: str) -> httpx.Response:
        """Send a form of the organization."""
        return await self.client.post(f"{self.home}{path}", data={"csrf_token": await self.csrf(), **fields})

    async def token(self, *scopes: str) -> str:
        """Make an API token and return its secret."""
        answer = await self.client.post(
            "/api/v1/tokens",
            json={"name": "test", "scopes": list(scopes)},
            headers={"x-csrf-token": await self.csrf()},
        )
        assert answer.status_code == 201, answer.text
        secret: str = answer.json()["secret"]
        return secret


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse too many requests without a delay."""
    monkeypatch.setattr(admission, "_HOLD_BACK_SECONDS", 0)


@pytest.fixture
async def gateway(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Gateway]:
    # Tests answer a check a moment after it was requested, so read it again at once.
    monkeypatch.setattr(checks, "_POLL_SECONDS", 0.01)
    keys = tmp_path / "keys.json"
    key = base64.b64encode(os.urandom(32)).decode()
    keys.write_text(json.dumps({"primary": "k1", "keys": {"k1": key}}))
    keys.chmod(0o600)
    settings = Settings(
        database_url=database.url("gateway"),
        kafka_bootstrap="127.0.0.1:1",
        public_url=ADDRESS,
        session_key_file=tmp_path / "session-key",
        credential_keys_file=keys,
    )
    clock = Clock()
    context = Context(
        settings=settings,
        engine=build_engine(settings, service="gateway"),
        clock=clock,
        keyring=Keyring.load(keys),
        session_key=os.urandom(32),
    )
    admin = build_engine(PostgresSettings(database_url=database.admin_url), service="test")
    yield Gateway(context, clock, admin, build_app(context))
    await context.engine.dispose()
    await admin.dispose()

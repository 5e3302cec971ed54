"""No organization sees a row of another, in any table or view that the migrations make."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import pytest

from libs.common.database import build_engine, raw, transaction
from libs.common.migrations import SERVICES
from libs.common.settings import PostgresSettings
from tests.servers import Database

OURS, THEIRS = UUID(int=1, version=4), UUID(int=2, version=4)
SCHEMAS = [*SERVICES, "metrics_read"]
# Tables without an organization. Only users concern one: a policy shows a user to the organizations it is a member of.
SHARED = {
    "gateway.users",
    "gateway.setup_links",
    "gateway.attempts",
    "gateway.known_places",
    "metrics.positions",
    *(f"{service}.{table}" for service in SERVICES for table in ("alembic_version", "backfills")),
}
TENANT = "(organization_id = (NULLIF(current_setting('app.organization_id'::text, true), ''::text))::uuid)"
# Roles that row-level security does not restrict: a service uses them for work across organizations.
ACROSS = {"gateway": {"gateway_system", "gateway_identity"}} | {
    service: {service} for service in ("connector", "scheduler", "metrics")
}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A migrated database, queried as the superuser or as the gateway."""

    admin: Any
    gateway: Any

    async def fetch(self, query: str, *values: Any) -> list[Any]:
        async with transaction(self.admin) as connection:
            rows: list[Any] = await (await raw(connection)).fetch(query, *values)
            return rows

    async def tables(self) -> set[str]:
        rows = await self.fetch(
            "SELECT format('%s.%s', schemaname, tablename) FROM pg_tables WHERE schemaname = ANY($1)", SCHEMAS
        )
        return {row[0] for row in rows}

    async def as_gateway(self, query: str, organization_id: UUID | None) -> list[Any]:
        async with transaction(self.gateway, organization_id) as connection:
            rows: list[Any] = await (await raw(connection)).fetch(query)
            return rows


@pytest.fixture
async def catalogue(database: Database) -> AsyncIterator[Catalogue]:
    async with AsyncExitStack() as stack:
        engines = []
        for role in ("postgres", "gateway"):
            settings = PostgresSettings(database_url=database.url(role))
            engine = build_engine(settings, service="test")
            stack.push_async_callback(engine.dispose)
            engines.append(engine)
        yield Catalogue(*engines)


async def test_tables_of_organizations_force_their_policy(catalogue: Catalogue) -> None:
    tables = await catalogue.fetch(
        """SELECT format('%s.%s', relnamespace::regnamespace, relname), relrowsecurity, relforcerowsecurity
        FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text = ANY($1)""",
        SCHEMAS,
    )
    tenant = {
        row[0]
        for row in await catalogue.fetch(
            """SELECT attrelid::regclass::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
            WHERE attname = 'organization_id' AND c.relkind IN ('r', 'p')"""
        )
    }

    assert {name for name, _, _ in tables} - tenant == SHARED
    assert tenant >= {"metrics.versions", "metrics.segments", "connector.credentials", "gateway.syncs"}
    unprotected = {name for name, enabled, forced in tables if not (enabled and forced)}
    assert unprotected == SHARED - {"gateway.users"}

    policies = await catalogue.fetch(
        """SELECT format('%s.%s', schemaname, tablename) AS "table", schemaname, policyname, permissive, roles::text[], cmd,
            qual, with_check FROM pg_policies"""
    )
    for_everyone = {
        row["table"]: (row["policyname"], row["permissive"], row["cmd"], row["qual"], row["with_check"])
        for row in policies
        if "public" in row["roles"]
    }
    assert for_everyone == dict.fromkeys(tenant, ("tenant", "PERMISSIVE", "ALL", TENANT, TENANT))
    across = {
        (row["table"], role)
        for row in policies
        for role in row["roles"]
        if role not in {"public", *ACROSS[row["schemaname"]]}
    }
    assert across == {("gateway.users", "gateway")}


async def test_views_belong_to_a_role_that_policies_restrict(catalogue: Catalogue) -> None:
    views = await catalogue.fetch(
        """SELECT c.oid::regclass::text, relkind::text, relowner::regrole::text FROM pg_class c
        WHERE relkind IN ('v', 'm') AND relnamespace::regnamespace::text = ANY($1)""",
        SCHEMAS,
    )
    owned = await catalogue.fetch(
        "SELECT DISTINCT relkind::text, relnamespace::regnamespace::text FROM pg_class WHERE relowner = 'metrics_views'::regrole"
    )

    assert {row[0] for row in views} >= {"metrics_read.segments", "metrics_read.ledger"}
    assert {tuple(row[1:]) for row in views} == {("v", "metrics_views")}
    assert {tuple(row) for row in owned} == {("v", "metrics_read")}


async def test_no_role_bypasses_policies_or_owns_tables(catalogue: Catalogue) -> None:
    roles = [*SERVICES, "gateway_system", "gateway_identity", "metrics_views"]

    passing = await catalogue.fetch(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY($1) AND (rolsuper OR rolbypassrls OR rolcreaterole)",
        roles,
    )
    owning = await catalogue.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relowner::regrole::text = ANY($1)",
        roles,
    )
    members = await catalogue.fetch(
        """SELECT member::regrole::text, roleid::regrole::text, inherit_option FROM pg_auth_members
        WHERE member::regrole::text = ANY($1)""",
        roles,
    )
    definers = await catalogue.fetch(
        """SELECT DISTINCT proowner::regrole::text FROM pg_proc
        WHERE prosecdef AND pronamespace::regnamespace::text = ANY($1)""",
        SCHEMAS,
    )

    assert (passing, owning) == ([], [])
    assert {tuple(row) for row in members} == {("gateway", "gateway_system", False)}
    assert {row[0] for row in definers} <= {"gateway_identity"}


async def test_service_reads_its_schema_and_the_gateway_also_views(catalogue: Catalogue) -> None:
    readable = await catalogue.fetch(
        """SELECT role, c.relnamespace::regnamespace::text AS schema, c.oid::regclass::text AS name
        FROM unnest($1::text[]) AS role, pg_class c
        WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relnamespace::regnamespace::text = ANY($2)
            AND has_any_column_privilege(role, c.oid, 'SELECT')""",
        list(SERVICES),
        SCHEMAS,
    )
    hidden = await catalogue.fetch(
        """SELECT attname FROM pg_attribute WHERE attrelid = 'connector.credentials'::regclass AND attnum > 0
            AND NOT has_column_privilege('gateway', attrelid, attnum, 'SELECT')"""
    )

    foreign = {(row["role"], row["name"]) for row in readable if row["role"] != row["schema"]}
    views = {row["name"] for row in readable if row["schema"] == "metrics_read"}
    assert foreign == {("gateway", name) for name in {*views, "connector.credentials"}}
    assert {row[0] for row in hidden} >= {"address", "cipher"}


async def test_gateway_sees_only_rows_of_its_organization(
    catalogue: Catalogue,
) -> None:
    seeded = await catalogue.tables() - (SHARED - {"gateway.users"})
    for organization_id in (OURS, THEIRS):
        await _fill(catalogue, seeded, organization_id)
    readable = await catalogue.fetch(
        """SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relkind IN ('r', 'p', 'v', 'm') AND a.attname = 'organization_id'
            AND c.relnamespace::regnamespace::text = ANY($1)
            AND has_column_privilege('gateway', c.oid, a.attnum, 'SELECT')""",
        SCHEMAS,
    )
    names = {row["name"] for row in readable}

    for name in names:
        query = f"SELECT organization_id FROM {name}"  # noqa: S608  names of the catalogue
        for organization_id in (OURS, THEIRS):
            seen = {row[0] for row in await catalogue.as_gateway(query, organization_id)}
            assert seen == {organization_id}, name
        assert await catalogue.as_gateway(query, None) == [], name
    users = "SELECT user_id FROM gateway.users"
    assert len(await catalogue.fetch(users)) == 2
    assert [row[0] for row in await catalogue.as_gateway(users, OURS)] == [uuid5(OURS, "user_id")]
    assert await catalogue.as_gateway(users, None) == []
    views = {name for name in names if name.startswith("metrics_read.")}
    assert len(views) == len(await catalogue.fetch("SELECT FROM pg_views WHERE schemaname = 'metrics_read'"))


async def _fill(catalogue: Catalogue, tables: set[str], organization_id: UUID) -> None:
    """Insert a row into each table. Equal columns get equal values, so that the rows of an organization join."""
    columns = await catalogue.fetch(
        """SELECT attrelid::regclass::text AS "table", attname AS name, format_type(atttypid, atttypmod) AS type,
            (SELECT (regexp_match(pg_get_constraintdef(k.oid), '''([^'']+)'''))[1] FROM pg_constraint k
             WHERE k.conrelid = attrelid AND k.contype = 'c' AND attnum = ANY (k.conkey) LIMIT 1) AS allowed
        FROM pg_attribute WHERE attrelid = ANY ($1::regclass[]) AND attnum > 0 AND NOT attisdropped
            AND attgenerated = '' AND attidentity = ''
        ORDER BY attrelid, attnum""",
        sorted(tables),
    )
    async with transaction(catalogue.admin) as connection:
        database = await raw(connection)
        await database.execute(
            "SET LOCAL session_replication_role = replica"
        )  # so that the order of tables does not matter
        for table in sorted(tables):
            table_columns = [column for column in columns if column["table"] == table]
            names = ", ".join(f'"{column["name"]}"' for column in table_columns)
            values = ", ".join(_literal(column, organization_id) for column in table_columns)
            await database.execute(f"INSERT INTO {table} ({names}) VALUES ({values})")  # noqa: S608
        # The days of customers are shown as far as subscriptions are known.
        await database.execute(
            """INSERT INTO metrics.coverage (organization_id, instance_id, kind, last_on)
            SELECT organization_id, instance_id, 'service', last_on FROM metrics.coverage ON CONFLICT DO NOTHING"""
        )
        # These views show rows with certain values alone: promotions, and subscriptions that end.
        for table, values in (
            ("versions", '{"kind": "promotion", "body": {"code": "SPRING"}}'),
            ("records", '{"kind": "promotion", "gone": false}'),
            (
                "segments",
                '{"lens": "contract", "cause": "non_payment", "from_on": "2025-01-01", "to_on": "2027-01-01"}',
            ),
        ):
            await database.execute(
                f"INSERT INTO metrics.{table} SELECT (jsonb_populate_record(t, $1)).* FROM metrics.{table} t WHERE organization_id = $2",  # noqa: S608
                values,
                organization_id,
            )
        # Rates are versions of currencies.
        await database.execute(
            """INSERT INTO metrics.versions (organization_id, instance_id, kind, id, epoch, seq, observed_at, body)
            SELECT organization_id, instance_id, 'currency', id, epoch, seq, observed_at, '{"code": "EUR", "rate": "1"}'
            FROM metrics.versions ON CONFLICT DO NOTHING"""
        )


def _literal(column: Any, organization_id: UUID) -> str:
    number = organization_id.node
    by_name = {"organization_id": organization_id, "kind": "customer"}
    by_type = {
        "uuid": uuid5(organization_id, column["name"]),
        "text": f"{column['name']} {number}",
        "bytea": f"{column['name']} {number}",
        "jsonb": "{}",
        "boolean": "false",
        "bit(10000)": "1",
        "date": f"2026-01-{number:02}",
        "timestamp with time zone": f"2026-01-{number:02} 00:00Z",
    }
    default = "{}" if column["type"].endswith("[]") else number
    value = by_name.get(column["name"]) or column["allowed"] or by_type.get(column["type"], default)
    return f"'{value}'::{column['type']}"

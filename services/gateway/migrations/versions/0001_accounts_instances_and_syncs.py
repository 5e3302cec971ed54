"""Organizations, users and how they sign in; instances, checks, runs and their events; audit; the outbox."""

from alembic import op

from libs.common.migrations import across_organizations, protect
from libs.common.outbox import outbox_ddl

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_INSTANCE = "organization_id uuid NOT NULL, instance_id uuid NOT NULL"
_TABLES = [
    """CREATE TABLE gateway.organizations (
        organization_id uuid PRIMARY KEY, name text NOT NULL, is_demo boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now())""",
    """CREATE TABLE gateway.users (
        user_id uuid PRIMARY KEY, email text NOT NULL UNIQUE, password_hash text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now())""",
    """CREATE TABLE gateway.memberships (
        organization_id uuid NOT NULL REFERENCES gateway.organizations, user_id uuid NOT NULL REFERENCES gateway.users,
        role text NOT NULL CHECK (role IN ('viewer', 'analyst', 'admin', 'owner')),
        PRIMARY KEY (organization_id, user_id))""",
    "CREATE INDEX memberships_of_user ON gateway.memberships (user_id)",
    """CREATE TABLE gateway.sessions (
        organization_id uuid NOT NULL, session_id uuid NOT NULL, hash bytea NOT NULL UNIQUE, user_id uuid NOT NULL,
        created_at timestamptz NOT NULL, seen_at timestamptz NOT NULL, expires_at timestamptz NOT NULL,
        PRIMARY KEY (organization_id, session_id))""",
    """CREATE TABLE gateway.tokens (
        organization_id uuid NOT NULL, token_id uuid NOT NULL, hash bytea NOT NULL UNIQUE, name text NOT NULL,
        scopes text[] NOT NULL, user_id uuid NOT NULL, created_at timestamptz NOT NULL, expires_at timestamptz,
        last_used_at timestamptz, revoked_at timestamptz,
        PRIMARY KEY (organization_id, token_id))""",
    """CREATE TABLE gateway.setup_links (hash bytea PRIMARY KEY, expires_at timestamptz NOT NULL)""",
    """CREATE TABLE gateway.attempts (
        subject bytea PRIMARY KEY, failures integer NOT NULL, last_at timestamptz NOT NULL)""",
    f"""CREATE TABLE gateway.instances (
        {_INSTANCE}, name text NOT NULL, address text NOT NULL, state text NOT NULL, credential_id uuid,
        identifier_hint text, credentials_updated_at timestamptz, settings jsonb NOT NULL, version bigint NOT NULL,
        attention_code text, attention_message text, whmcs_version text, created_at timestamptz NOT NULL,
        PRIMARY KEY (organization_id, instance_id))""",
    """CREATE UNIQUE INDEX instances_one_per_address ON gateway.instances (organization_id, address)
        WHERE state <> 'deleted'""",
    f"""CREATE TABLE gateway.checks (
        {_INSTANCE}, check_id uuid NOT NULL, credential_id uuid NOT NULL, address text NOT NULL,
        identifier_hint text NOT NULL, is_new_credential boolean NOT NULL, started_at timestamptz NOT NULL,
        is_complete boolean NOT NULL DEFAULT false, checks jsonb NOT NULL DEFAULT '[]', whmcs_version text,
        seen_address text, estimate jsonb,
        PRIMARY KEY (organization_id, instance_id, check_id))""",
    "CREATE INDEX checks_by_time ON gateway.checks (organization_id, instance_id, started_at DESC)",
    f"""CREATE TABLE gateway.syncs (
        {_INSTANCE}, command_id uuid NOT NULL, mode text NOT NULL, trigger text NOT NULL,
        requested_at timestamptz NOT NULL, requested_by text, run_id uuid,
        PRIMARY KEY (organization_id, instance_id, command_id))""",
    "CREATE INDEX syncs_by_command ON gateway.syncs (organization_id, command_id)",
    "CREATE INDEX syncs_by_time ON gateway.syncs (organization_id, instance_id, requested_at DESC, command_id DESC)",
    f"""CREATE TABLE gateway.runs (
        {_INSTANCE}, run_id uuid NOT NULL, mode text NOT NULL, trigger text NOT NULL, state text NOT NULL,
        started_at timestamptz, ended_at timestamptz, progress jsonb NOT NULL DEFAULT '{{}}', counts jsonb, changes jsonb,
        skipped jsonb NOT NULL DEFAULT '[]', code text, message text,
        PRIMARY KEY (organization_id, instance_id, run_id))""",
    f"""CREATE TABLE gateway.sync_events (
        id bigserial PRIMARY KEY, {_INSTANCE}, message_id text NOT NULL UNIQUE, type text NOT NULL, subject uuid NOT NULL,
        body jsonb NOT NULL, at timestamptz NOT NULL)""",
    "CREATE INDEX sync_events_of_subject ON gateway.sync_events (organization_id, subject, id)",
    """CREATE TABLE gateway.idempotency (
        organization_id uuid NOT NULL, key text NOT NULL, request_hash bytea NOT NULL, status integer,
        headers jsonb, body bytea, at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (organization_id, key))""",
    """CREATE TABLE gateway.audit (
        organization_id uuid NOT NULL, id bigserial NOT NULL, at timestamptz NOT NULL, actor text NOT NULL,
        action text NOT NULL, target text, result text NOT NULL, address text, request_id text,
        PRIMARY KEY (organization_id, id))""",
]
_TENANT_TABLES = (
    "organizations",
    "memberships",
    "sessions",
    "tokens",
    "instances",
    "checks",
    "syncs",
    "runs",
    "sync_events",
    "idempotency",
    "audit",
    "outbox",
)

# These functions run before the organization of a caller is known. Each takes a value that only its holder has, and returns only the
# row of that holder.
_ROLE_FUNCTIONS = [
    """CREATE FUNCTION gateway.user_by_email(wanted text)
    RETURNS TABLE (user_id uuid, password_hash text, organization_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
        SELECT u.user_id, u.password_hash,
            (SELECT m.organization_id FROM gateway.memberships m JOIN gateway.organizations o USING (organization_id)
             WHERE m.user_id = u.user_id ORDER BY o.is_demo DESC, o.created_at LIMIT 1)
        FROM gateway.users u WHERE u.email = wanted
    $$""",
    """CREATE FUNCTION gateway.session_by_hash(wanted bytea)
    RETURNS TABLE (session_id uuid, user_id uuid, email text, organization_id uuid, role text, created_at timestamptz,
        seen_at timestamptz, expires_at timestamptz, organizations jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
        SELECT s.session_id, u.user_id, u.email, s.organization_id, m.role, s.created_at, s.seen_at, s.expires_at,
            (SELECT jsonb_agg(jsonb_build_object('id', o.organization_id, 'name', o.name, 'is_demo', o.is_demo)
                ORDER BY o.is_demo, o.name)
             FROM gateway.memberships n JOIN gateway.organizations o USING (organization_id) WHERE n.user_id = u.user_id)
        FROM gateway.sessions s JOIN gateway.users u USING (user_id)
        JOIN gateway.memberships m ON m.user_id = u.user_id AND m.organization_id = s.organization_id
        WHERE s.hash = wanted
    $$""",
    """CREATE FUNCTION gateway.token_by_hash(wanted bytea)
    RETURNS TABLE (token_id uuid, user_id uuid, email text, organization_id uuid, organization_name text, is_demo boolean,
        role text, scopes text[], name text, expires_at timestamptz, last_used_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
        SELECT t.token_id, u.user_id, u.email, t.organization_id, o.name, o.is_demo, m.role, t.scopes, t.name,
            t.expires_at, t.last_used_at
        FROM gateway.tokens t JOIN gateway.users u USING (user_id) JOIN gateway.organizations o USING (organization_id)
        JOIN gateway.memberships m ON m.user_id = u.user_id AND m.organization_id = t.organization_id
        WHERE t.hash = wanted AND t.revoked_at IS NULL
    $$""",
]
_FUNCTIONS = ("user_by_email(text)", "session_by_hash(bytea)", "token_by_hash(bytea)")


def upgrade() -> None:
    """Create the tables with their policies, then the rights before an organization is known, and those across all organizations."""
    for statement in (*_TABLES, *outbox_ddl("gateway")):
        op.execute(statement)
    for table in _TENANT_TABLES:
        protect(f"gateway.{table}", service="gateway")
    _protect_users()
    for table in ("organizations", "users", "memberships", "sessions", "tokens"):
        across_organizations(f"gateway.{table}", role="gateway_identity")
    for statement in _ROLE_FUNCTIONS:
        op.execute(statement)
    for name in _FUNCTIONS:
        op.execute(f"ALTER FUNCTION gateway.{name} OWNER TO gateway_identity")
        op.execute(f"REVOKE ALL ON FUNCTION gateway.{name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION gateway.{name} TO gateway")
    _let_the_system_work()
    _keep_the_audit()


def _protect_users() -> None:
    """Let an organization see the users that are its members."""
    op.execute("ALTER TABLE gateway.users ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE gateway.users FORCE ROW LEVEL SECURITY")
    op.execute(
        """CREATE POLICY member ON gateway.users TO gateway USING (EXISTS (
            SELECT FROM gateway.memberships m WHERE m.user_id = users.user_id
            AND m.organization_id = NULLIF(current_setting('app.organization_id', true), '')::uuid))"""
    )
    op.execute("REVOKE INSERT, UPDATE, DELETE ON gateway.users FROM gateway")


def _let_the_system_work() -> None:
    """Grant the rights for work that the gateway does without a caller: setup, the outbox, tidying up."""
    for table, commands in {
        "organizations": "SELECT, INSERT",
        "users": "SELECT, INSERT, UPDATE",
        "memberships": "SELECT, INSERT",
        "sessions": "SELECT, UPDATE, DELETE",
        "tokens": "SELECT, INSERT",
        "instances": "SELECT",
        "syncs": "DELETE, SELECT",
        "runs": "DELETE, SELECT",
        "checks": "DELETE, SELECT",
        "sync_events": "DELETE, SELECT",
        "idempotency": "DELETE, SELECT",
        "outbox": "SELECT, INSERT, UPDATE, DELETE",
    }.items():
        across_organizations(f"gateway.{table}", role="gateway_system", commands=commands)
    op.execute("GRANT SELECT, INSERT, DELETE ON gateway.setup_links TO gateway_system")
    op.execute("GRANT DELETE, SELECT ON gateway.attempts TO gateway_system")
    op.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA gateway TO gateway_system")
    op.execute("REVOKE ALL ON gateway.setup_links FROM gateway")


def _keep_the_audit() -> None:
    """Let lines of the audit log be added and read, but never changed."""
    op.execute("REVOKE UPDATE, DELETE ON gateway.audit FROM gateway")
    op.execute(
        """CREATE FUNCTION gateway.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"""
    )
    op.execute(
        """CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON gateway.audit
        FOR EACH STATEMENT EXECUTE FUNCTION gateway.refuse_change()"""
    )

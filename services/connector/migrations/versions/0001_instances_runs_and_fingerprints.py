"""Instances and their leases, checks, runs with checkpoints, fingerprints, credentials, and the outbox."""

from alembic import op

from libs.common.migrations import protect
from libs.common.outbox import outbox_ddl

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OWNER = "organization_id uuid NOT NULL, instance_id uuid NOT NULL"
_TABLES = [
    f"""CREATE TABLE connector.instances (
        {_OWNER}, credential_id uuid NOT NULL, state text NOT NULL, settings jsonb NOT NULL,
        version bigint NOT NULL, worker text, lease_until timestamptz, epoch bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (organization_id, instance_id))""",
    f"""CREATE TABLE connector.credentials (
        {_OWNER}, credential_id uuid NOT NULL, address text NOT NULL, cipher text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (organization_id, instance_id, credential_id))""",
    f"""CREATE TABLE connector.addresses (
        {_OWNER}, credential_id uuid NOT NULL, base_url text NOT NULL,
        PRIMARY KEY (organization_id, instance_id, credential_id))""",
    f"""CREATE TABLE connector.checks (
        {_OWNER}, check_id uuid NOT NULL, credential_id uuid NOT NULL, settings jsonb NOT NULL,
        lease_until timestamptz, attempts integer NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz,
        PRIMARY KEY (organization_id, instance_id, check_id))""",
    "CREATE INDEX checks_open ON connector.checks (created_at) WHERE ended_at IS NULL",
    f"""CREATE TABLE connector.runs (
        {_OWNER}, run_id uuid NOT NULL, mode text NOT NULL, trigger text NOT NULL, state text NOT NULL,
        attempts integer NOT NULL DEFAULT 0, commands uuid[] NOT NULL, code text,
        created_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz, ended_at timestamptz,
        PRIMARY KEY (organization_id, instance_id, run_id))""",
    """CREATE UNIQUE INDEX runs_one_queued ON connector.runs (organization_id, instance_id)
        WHERE state = 'queued'""",
    """CREATE UNIQUE INDEX runs_one_running ON connector.runs (organization_id, instance_id)
        WHERE state = 'running'""",
    f"""CREATE TABLE connector.checkpoints (
        {_OWNER}, run_id uuid NOT NULL, kind text NOT NULL, position bigint NOT NULL, expected bigint,
        rows bigint NOT NULL, changed bigint NOT NULL, bad bigint NOT NULL, done boolean NOT NULL, code text,
        PRIMARY KEY (organization_id, instance_id, run_id, kind))""",
    f"""CREATE TABLE connector.fingerprints (
        {_OWNER}, kind text NOT NULL, id bigint NOT NULL, fingerprint bytea, customer_id bigint,
        PRIMARY KEY (organization_id, instance_id, kind, id))""",
]


def upgrade() -> None:
    for statement in (*_TABLES, *outbox_ddl("connector")):
        op.execute(statement)
    for table in (
        "instances",
        "credentials",
        "addresses",
        "checks",
        "runs",
        "checkpoints",
        "fingerprints",
        "outbox",
    ):
        protect(f"connector.{table}", service="connector")
    # The gateway adds and deletes credentials, and can never read a cipher.
    op.execute("GRANT INSERT, DELETE ON connector.credentials TO gateway")
    op.execute(
        "GRANT SELECT (organization_id, instance_id, credential_id) ON connector.credentials TO gateway"
    )

"""When each kind was read, and the first and last moment that figures are known for, whatever time zone they are shown in.

`freshness.first_on` and `last_on` are days of the time zone that an instance had: the version before writes them, nobody reads them any
more, and a later migration removes them.
"""

from alembic import op

from libs.common.backfills import Backfill
from libs.common.migrations import protect

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_READINGS = """CREATE TABLE metrics.readings (
    organization_id uuid NOT NULL, instance_id uuid NOT NULL, ended_at timestamptz NOT NULL, run_id uuid NOT NULL,
    started_at timestamptz NOT NULL, kinds text[] NOT NULL,
    PRIMARY KEY (organization_id, instance_id, ended_at, run_id))"""

# Versions come in the order of their time, so a few bytes for a megabyte of them are enough to find those after a moment.
_VERSIONS_OF_TIME = """CREATE INDEX versions_of_time ON metrics.versions
    USING brin (observed_at) WITH (pages_per_range = 32, autosummarize = on)"""

_FRESHNESS = """CREATE OR REPLACE VIEW metrics_read.freshness AS
    SELECT f.organization_id, f.instance_id, f.run_id, f.as_of,
        coalesce((f.first_at AT TIME ZONE (n.settings ->> 'time_zone'))::date, f.first_on) AS first_on,
        coalesce((f.last_at AT TIME ZONE (n.settings ->> 'time_zone'))::date, f.last_on) AS last_on, f.kinds,
        n.settings ->> 'time_zone' AS time_zone, f.first_read_at
    FROM metrics.freshness f JOIN metrics.instances n USING (organization_id, instance_id)"""
_FRESHNESS_MEANING = (
    "Per instance: the last applied run, as_of its start, the days [first_on, last_on] of time_zone that figures are "
    "known for, and per kind when it was last read and why it was not since. first_read_at: when each kind was first read."
)

# Which runs there were is not known any more, but what changed was seen by one: an hour of changes becomes one reading. The
# hour gives its id, so that batches which hold parts of the same hour find the reading of the parts before and replace it.
_PAST_READINGS = """, seen AS (
        SELECT organization_id, instance_id, md5(instance_id::text || date_trunc('hour', observed_at))::uuid AS run_id,
            min(observed_at) AS started_at, max(observed_at) AS ended_at, array_agg(DISTINCT kind) AS kinds
        FROM batch GROUP BY organization_id, instance_id, date_trunc('hour', observed_at)
    ), before AS (
        DELETE FROM metrics.readings r USING seen s
        WHERE r.organization_id = s.organization_id AND r.instance_id = s.instance_id AND r.run_id = s.run_id RETURNING r.*
    ), parts AS (
        SELECT s.* FROM seen s
        UNION ALL SELECT organization_id, instance_id, run_id, started_at, ended_at, kinds FROM before
    )
    INSERT INTO metrics.readings (organization_id, instance_id, run_id, started_at, ended_at, kinds)
    SELECT organization_id, instance_id, run_id, min(started_at), max(ended_at), array_agg(DISTINCT kind ORDER BY kind)
    FROM parts CROSS JOIN LATERAL unnest(kinds) kind GROUP BY organization_id, instance_id, run_id"""

_LAST_READINGS = """INSERT INTO metrics.readings
    SELECT f.organization_id, f.instance_id, greatest(f.as_of, (
            SELECT max(r.ended_at) FROM metrics.readings r
            WHERE r.organization_id = f.organization_id AND r.instance_id = f.instance_id)),
        f.run_id, f.as_of,
        (SELECT coalesce(array_agg(one.key), '{}') FROM jsonb_each(f.kinds) one WHERE one.value ->> 'code' IS NULL)
    FROM batch f ON CONFLICT DO NOTHING"""

# What is known begins no earlier than it did: the last moment of the first day, the first of the last one.
_PAST_FRESHNESS = """UPDATE metrics.freshness f SET
    first_at = n.first_at,
    last_at = greatest(f.as_of, f.last_on::timestamp AT TIME ZONE n.zone),
    first_read_at = (
        SELECT coalesce(jsonb_object_agg(one.key, n.first_at), '{}') FROM jsonb_each(f.kinds) one
        WHERE one.value ->> 'read_at' IS NOT NULL)
    FROM (
        SELECT organization_id, instance_id, settings ->> 'time_zone' AS zone,
            (first_on + 1)::timestamp AT TIME ZONE (settings ->> 'time_zone') - interval '1 microsecond' AS first_at
        FROM metrics.instances JOIN batch USING (organization_id, instance_id)) n
    WHERE n.organization_id = f.organization_id AND n.instance_id = f.instance_id AND f.first_at IS NULL"""

_INSTANCE = {"organization_id": "uuid", "instance_id": "uuid"}
_FACT = {**_INSTANCE, "kind": "text", "id": "bigint", "epoch": "bigint", "seq": "bigint"}
backfills = (
    Backfill("past_readings", "metrics.versions", _FACT, _PAST_READINGS),
    Backfill("last_readings", "metrics.freshness", _INSTANCE, _LAST_READINGS, rows=100),
    Backfill("past_freshness", "metrics.freshness", _INSTANCE, _PAST_FRESHNESS, rows=100),
)


def upgrade() -> None:
    """Add a table and an index, and replace days by moments."""
    op.execute(_READINGS)
    protect("metrics.readings", service="metrics")
    op.execute(_VERSIONS_OF_TIME)
    op.execute(
        """ALTER TABLE metrics.freshness ADD first_at timestamptz, ADD last_at timestamptz, ADD first_read_at jsonb,
            ALTER first_on DROP NOT NULL, ALTER last_on DROP NOT NULL"""
    )
    op.execute("GRANT SELECT ON metrics.instances TO metrics_views")
    op.execute(_FRESHNESS)
    op.execute(f"COMMENT ON VIEW metrics_read.freshness IS '{_FRESHNESS_MEANING}'")

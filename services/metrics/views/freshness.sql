-- Per instance: the last applied run and as_of, its start. Figures are known for the days [first_on, last_on] of time_zone and use
-- facts up to epoch. They are computed by definitions; is_redefined says that others are wanted by now. kinds and first_read_at hold as one object what coverage holds in rows.
SELECT f.organization_id, f.instance_id, f.run_id, f.as_of, known.first_on, known.last_on, known.kinds,
    coalesce(f.time_zone, n.settings ->> 'time_zone') AS time_zone, known.first_read_at, f.epoch,
    f.definitions, f.definitions <> n.definitions AS is_redefined
FROM metrics.freshness f JOIN metrics.instances n USING (organization_id, instance_id)
CROSS JOIN LATERAL (
    SELECT min(c.first_on) AS first_on, max(c.last_on) AS last_on,
        coalesce(jsonb_object_agg(c.kind, CASE
            WHEN c.code IS NULL THEN jsonb_build_object('read_at', c.read_at)
            ELSE jsonb_build_object(
                'read_at', c.read_at, 'action', c.action, 'code', c.code, 'required', c.is_required) END), '{}') AS kinds,
        coalesce(jsonb_object_agg(c.kind, c.first_at) FILTER (WHERE c.first_at IS NOT NULL), '{}') AS first_read_at
    FROM metrics.coverage c
    WHERE c.organization_id = f.organization_id AND c.instance_id = f.instance_id) known

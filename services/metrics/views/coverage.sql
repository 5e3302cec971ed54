-- Per instance and kind: figures are known for the days [first_on, last_on], and those before closed_before no longer change.
-- read_at is when a run last read the kind. action and code say why the newest run could not read it.
SELECT organization_id, instance_id, kind, first_on, last_on, closed_before, read_at, action, code
FROM metrics.coverage

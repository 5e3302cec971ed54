-- Per instance and kind: figures are known for the days [first_on, last_on], and those before closed_before no longer change.
-- read_at is when a run last read the kind whole, last_at when a run last looked at it. action and code say why the run at skipped_at, and
-- none after it, could not read the kind. An unpaid subscription counts grace_days after its due date.
SELECT organization_id, instance_id, kind, first_on, last_on, closed_before, read_at, action, code, last_at, skipped_at, grace_days
FROM metrics.coverage

-- Subscriptions that are missing in totals, and why: amount_negative, amount_not_offered, currency_unknown, cycle_unknown,
-- due_date_missing, status_unknown.
SELECT organization_id, instance_id, kind, id, customer_id, reason FROM metrics.issues

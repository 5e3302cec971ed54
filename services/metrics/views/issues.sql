-- Subscriptions that are not in every total, and why: amount_negative, amount_not_offered, currency_unknown, cycle_unknown,
-- due_date_missing, status_unknown, tax_rate_unknown, unreadable. An unreadable one counts as it was last read; customer_id is null if it never was.
SELECT organization_id, instance_id, kind, id, customer_id, reason FROM metrics.issues
UNION ALL
SELECT DISTINCT organization_id, instance_id, u.kind, u.id, r.customer_id, 'unreadable'
FROM metrics.unreadable_rows u LEFT JOIN metrics.records r USING (organization_id, instance_id, kind, id)
WHERE u.kind IN ('service', 'addon', 'domain') AND u.id IS NOT NULL

-- Per subscription and lens that counts on the last known day: when it stops counting by the lens contract if nothing changes. It is paid
-- until due_on and counts before ends_on; is_requested says that it is not to renew, so it has no grace. Other subscriptions with a due
-- date have the grace of their kind between both. last_on is the last known day of the kind.
SELECT s.organization_id, s.instance_id, s.kind, s.id, s.lens, s.customer_id, s.currency, s.mrr_micros, s.product, s.product_name,
    s.cycle, s.status, s.promotion_id, s.product_group, s.customer_group, s.country, s.payment_method, c.last_on, s.to_on AS ends_on,
    s.cause = 'cancellation' AS is_requested,
    (s.to_on - CASE s.cause WHEN 'cancellation' THEN 1 ELSE c.grace_days + 1 END::int) AS due_on
FROM metrics.segments s JOIN metrics.coverage c USING (organization_id, instance_id, kind)
WHERE s.lens = 'contract' AND s.from_on <= c.last_on AND s.to_on > c.last_on AND s.cause IN ('cancellation', 'non_payment')
UNION ALL
SELECT s.organization_id, s.instance_id, s.kind, s.id, s.lens, s.customer_id, s.currency, s.mrr_micros, s.product, s.product_name,
    s.cycle, s.status, s.promotion_id, s.product_group, s.customer_group, s.country, s.payment_method, c.last_on, k.to_on,
    k.cause = 'cancellation', (k.to_on - CASE k.cause WHEN 'cancellation' THEN 1 ELSE c.grace_days + 1 END::int)
FROM metrics.segments s JOIN metrics.coverage c USING (organization_id, instance_id, kind)
CROSS JOIN LATERAL (
    SELECT l.to_on, l.cause FROM metrics.segments l
    WHERE l.organization_id = s.organization_id AND l.instance_id = s.instance_id AND l.kind = s.kind AND l.id = s.id
      AND l.lens = 'contract' AND l.from_on <= c.last_on
    ORDER BY l.from_on DESC LIMIT 1) k
WHERE s.lens <> 'contract' AND s.from_on <= c.last_on AND (s.to_on IS NULL OR s.to_on > c.last_on)
  AND k.cause IN ('cancellation', 'non_payment')

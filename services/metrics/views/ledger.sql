-- Signed changes of MRR per subscription, lens and day, up to the last known day of each kind. The sum of all is the present MRR; the sum
-- up to a day is the MRR of that day. A discount, whose mrr_micros is negative in segments, counts no subscription.
SELECT organization_id, instance_id, s.lens, s.from_on AS "on", kind, s.id, s.customer_id, s.currency, s.product,
    s.cycle, s.mrr_micros, (s.mrr_micros > 0)::int AS subscriptions, s.promotion_id, s.product_group, s.customer_group, s.country, s.payment_method
FROM metrics.segments s JOIN metrics.coverage c USING (organization_id, instance_id, kind)
WHERE s.from_on <= c.last_on
UNION ALL
SELECT organization_id, instance_id, s.lens, s.to_on, kind, s.id, s.customer_id, s.currency, s.product,
    s.cycle, -s.mrr_micros, -(s.mrr_micros > 0)::int, s.promotion_id, s.product_group, s.customer_group, s.country, s.payment_method
FROM metrics.segments s JOIN metrics.coverage c USING (organization_id, instance_id, kind)
WHERE s.to_on <= c.last_on

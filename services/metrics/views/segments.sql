-- Per subscription and lens: the days [from_on, to_on) on which it counts, as far as they are known. to_on is null while it counts on the
-- last known day. product is its number or name under its kind, product_name the newest name of that product. cause says why it no longer
-- counts from to_on on; it is null where it goes on with other values. All other values are those of the segment's own days.
SELECT organization_id, instance_id, kind, s.id, s.lens, s.from_on,
    CASE WHEN s.to_on <= c.last_on THEN s.to_on END AS to_on, s.customer_id, s.currency, s.mrr_micros,
    s.product, s.product_name, s.cycle, s.status, s.basis, s.quantity, s.promotion_id, s.product_group, s.customer_group,
    s.country, s.payment_method, CASE WHEN s.to_on <= c.last_on THEN s.cause END AS cause
FROM metrics.segments s JOIN metrics.coverage c USING (organization_id, instance_id, kind)
WHERE s.from_on <= c.last_on

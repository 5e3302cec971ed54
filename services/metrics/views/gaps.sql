-- Per subscription: the days [from_on, to_on) on which MRR by contract differs from MRR by the lens paid, as far as they are known, with the
-- part to which the difference gap_micros belongs. to_on is null while it lasts on the last known day. Where product, country or another value
-- differs between both lenses, each has a row of its own. The rows of any filter add up to contract less paid.
SELECT organization_id, instance_id, kind, g.id, g.number, 'paid'::text AS lens, g.part, g.from_on,
    CASE WHEN g.to_on <= c.last_on THEN g.to_on END AS to_on, g.customer_id, g.currency, g.contract_micros, g.paid_micros,
    g.contract_micros - g.paid_micros AS gap_micros, g.product, g.product_name, g.cycle, g.promotion_id, g.product_group,
    g.customer_group, g.country, g.payment_method
FROM metrics.gaps g JOIN metrics.coverage c USING (organization_id, instance_id, kind)
WHERE g.from_on <= c.last_on

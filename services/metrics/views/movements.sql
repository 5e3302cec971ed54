-- Per customer, lens and day, up to the last known day of each kind: why MRR changed, one row per part. The rows of a movement add up to that
-- of the customer; the rows of any filter add up to its change of MRR. transfer is MRR that changed its place within a customer: its rows of
-- a customer and day add up to 0. product and the values behind it are those under which the amount was gained or lost.
SELECT organization_id, instance_id, m.customer_id, m.lens, m."on", m.number, kind, m.id, m.movement, m.reason, m.amount_micros,
    m.currency, m.from_product, m.to_product, m.days_away, m.basis, m.product, m.cycle, m.promotion_id, m.product_group,
    m.customer_group, m.country, m.payment_method
FROM metrics.movements m JOIN metrics.coverage c USING (organization_id, instance_id, kind)
WHERE m."on" <= c.last_on

-- Per customer, lens and currency: the days on which its MRR changed, with the MRR before and after; moved_micros of the change came from or
-- went to another customer or currency. previous_on and next_on are the days of the changes beside it. It ends with the last day on which
-- all kinds are known, because MRR of a customer is the sum of all of them.
SELECT organization_id, instance_id, d.customer_id, d.lens, d.currency, d."on", d.before_micros, d.after_micros, d.moved_micros,
    d.previous_on, CASE WHEN d.next_on <= c.last_on THEN d.next_on END AS next_on
FROM metrics.customer_days d JOIN (
    SELECT organization_id, instance_id, min(last_on) AS last_on FROM metrics.coverage
    WHERE kind IN ('service', 'addon', 'domain') GROUP BY organization_id, instance_id) c
    USING (organization_id, instance_id)
WHERE d."on" <= c.last_on

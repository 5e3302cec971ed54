-- Per instance: the newest preview of other definitions whose effect is computed. It has a row for each month-end and currency: MRR,
-- customers and the churned MRR of the month by the definitions in force when it was computed (before) and by the others (after). Without a
-- known month-end it has one row, whose on is null.
SELECT p.organization_id, p.instance_id, p.preview_id, p.computed_at, m."on", m.currency, m.mrr_before_micros, m.mrr_after_micros,
    m.customers_before, m.customers_after, m.churn_before_micros, m.churn_after_micros
FROM metrics.previews p LEFT JOIN metrics.preview_months m USING (organization_id, instance_id)

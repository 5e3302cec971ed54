-- Per instance and currency: each rate that a sync saw, and when, up to the last applied sync. An amount divided by the rate is in the
-- default currency of the instance. WHMCS tells the rate of today alone, so a rate holds until the next one, and the first one also before.
SELECT v.organization_id, v.instance_id, v.id, v.body ->> 'code' AS currency, (v.body ->> 'rate')::numeric AS rate,
    (v.body ->> 'is_default')::boolean AS is_default, v.observed_at AS seen_at, v.epoch, v.seq
FROM metrics.versions v JOIN metrics.freshness f USING (organization_id, instance_id)
WHERE v.kind = 'currency' AND v.body IS NOT NULL AND v.epoch <= f.epoch

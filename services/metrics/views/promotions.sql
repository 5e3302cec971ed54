-- Promotions that exist in WHMCS now, and their codes. promotion_id of other views is their id.
SELECT r.organization_id, r.instance_id, r.id, v.body ->> 'code' AS code
FROM metrics.records r JOIN metrics.versions v USING (organization_id, instance_id, kind, id, epoch, seq)
WHERE r.kind = 'promotion' AND NOT r.gone

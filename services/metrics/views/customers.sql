-- Customers that exist in WHMCS now. currency is that of the customer's invoice with the greatest id, else that of its details.
SELECT r.organization_id, r.instance_id, r.id, v.body ->> 'display_name' AS display_name,
    v.body ->> 'status' AS status, (v.body ->> 'created_on')::date AS created_on,
    coalesce(i.currency, d.currency) AS currency
FROM metrics.records r
JOIN metrics.versions v USING (organization_id, instance_id, kind, id, epoch, seq)
LEFT JOIN LATERAL (
    SELECT n.currency FROM metrics.records n
    WHERE n.organization_id = r.organization_id AND n.instance_id = r.instance_id
      AND n.customer_id = r.id AND n.kind = 'invoice' AND NOT n.gone
    ORDER BY n.id DESC LIMIT 1) i ON true
LEFT JOIN metrics.records d ON d.organization_id = r.organization_id
    AND d.instance_id = r.instance_id AND d.kind = 'customer_detail' AND d.id = r.id AND NOT d.gone
WHERE r.kind = 'customer' AND NOT r.gone

-- What could not be read, since when, and why: rows of WHMCS (kind, id; id is null when the id itself is unreadable), and facts that could
-- not be stored (topic, partition, offset, key), which are also on the topic dead-letter.
SELECT organization_id, instance_id, topic, partition, "offset", key, reason, at, NULL::text AS kind, NULL::bigint AS id, at AS since
FROM metrics.unreadable
UNION ALL
SELECT organization_id, instance_id, NULL, NULL, NULL, NULL, reason, since, kind, id, since FROM metrics.unreadable_rows

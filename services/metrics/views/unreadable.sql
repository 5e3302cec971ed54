-- Facts that could not be stored, and why. Each is also on the topic dead-letter.
SELECT organization_id, instance_id, topic, partition, "offset", key, reason, at FROM metrics.unreadable

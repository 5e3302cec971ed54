"""Gateway: the dashboard, the API, accounts and instances.

Consumes sync.events. Publishes instances and sync.commands through its outbox. Owns the schema `gateway`. Reads figures from the
views of `metrics_read`. Seals credentials and adds them to the connector's table, from which it cannot read them back.
"""

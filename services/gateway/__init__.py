"""Gateway: the dashboard, the API, accounts, and which instances there are.

Consumes sync.events. Publishes, through its outbox, instances and sync.commands. Owns the schema `gateway`; reads figures from the views
of `metrics_read`; seals credentials and hands them to the connector's table, from which it can never read them back.
"""

"""Metrics: turns billing facts into figures.

Consumes billing.* (intake), instances and sync.events. Publishes metrics.movements, sync.commands
(Republish), through its outbox, and dead letters.
Owns the schema `metrics`, and the views of `metrics_read`: the gateway reads these alone.
"""

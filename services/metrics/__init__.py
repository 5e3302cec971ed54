"""Metrics: turns billing facts into figures.

Consumes billing.* (intake), instances and sync.events. Publishes nothing yet but dead letters.
Owns the schema `metrics` and the views of `metrics_read`, which are all that the gateway reads of it.
"""

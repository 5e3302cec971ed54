"""Connector: reads WHMCS installations and publishes what changed.

Consumes sync.commands and instances. Publishes billing.* (facts) and, through its outbox, sync.events.
Owns the schema `connector`. No other service decrypts credentials or reaches the internet.
"""

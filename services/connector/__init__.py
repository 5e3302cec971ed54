"""Connector: reads WHMCS installations and publishes what changed.

Consumes sync.commands and instances. Publishes billing.* (facts) and, through its outbox, sync.events.
Owns the schema `connector`. The only service that decrypts credentials, and the only one that reaches the internet.
"""

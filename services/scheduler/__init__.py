"""Scheduler: says when an instance is synced or checked.

Consumes instances. Publishes sync.commands (RunSync, CheckInstance) through its outbox.
Owns the schema `scheduler`: a copy of the instances, and when each is due.
"""

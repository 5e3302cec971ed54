"""Scheduler: sends the commands that sync and check instances at their time.

Consumes: instances. Publishes: sync.commands (RunSync, CheckInstance), through its outbox.
Owns the schema `scheduler`: a copy of the instances, and their schedules.
"""

"""Syncs: what people ask for, and what the connector says of the runs that do it."""

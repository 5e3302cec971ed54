"""Syncs that people request, and the runs of the connector that carry them out."""

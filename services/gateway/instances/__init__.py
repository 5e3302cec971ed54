"""Instances: what people enter, how a check decides about it, and what everybody is told of an instance."""

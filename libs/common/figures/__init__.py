"""Every figure that the product shows: its definition, how it is read from `metrics_read`, and what its answer says.

Pages, API and docs read the same entries. Nothing here knows a service: callers hand in a connection and what they know of the instances.
"""

"""Every figure that the product shows: its definition, how it is read from `metrics_read`, and what its answer says.

Pages, API and docs read the same definitions. These modules know no service: a caller passes a connection and the state of its instances.
"""

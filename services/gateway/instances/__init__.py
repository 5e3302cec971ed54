"""Instances: their forms, states and connection tests, and what people do with them and see of them."""

"""Kafka: one way to publish and one way to consume."""

"""Alembic's entry for the schema `metrics`."""

from libs.common.migrations import run_environment

run_environment("metrics")

"""Alembic's entry for the schema `gateway`."""

from libs.common.migrations import run_environment

run_environment("gateway")

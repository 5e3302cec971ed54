"""Alembic's entry for the schema `scheduler`."""

from libs.common.migrations import run_environment

run_environment("scheduler")

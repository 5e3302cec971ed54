"""Alembic's entry for the schema `connector`."""

from libs.common.migrations import run_environment

run_environment("connector")

"""Restatements: why figures of closed days changed."""

from enum import StrEnum


class RestatementCause(StrEnum):
    """Why the MRR of closed days changed (docs/metrics.md)."""

    LATE_EVIDENCE = "late_evidence"
    DEFINITION_CHANGE = "definition_change"
    MERGE = "merge"
    FRAUD = "fraud"
    DELETION = "deletion"

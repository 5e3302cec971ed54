"""Errors, classed by what to do next.

MRRlyticsError
├── Transient       retried in place with backoff; then the work is left for later
├── Permanent       this input will never work: parked on `dead-letter`, or skipped and counted
└── NeedsOperator   a person has to act first; trying again changes nothing
"""


class MRRlyticsError(Exception):
    """Base of our own errors. `code` is stable and public; the text says what was wrong and what to do next."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Transient(MRRlyticsError):
    """Something is away for now."""


class Permanent(MRRlyticsError):
    """This input will never work."""


class NeedsOperator(MRRlyticsError):
    """A person has to act first."""

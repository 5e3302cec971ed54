"""Errors, classed by what to do next.

MRRlyticsError
├── Transient       retry with backoff, a bounded number of times
├── Permanent       this input never works: park it on `dead-letter`, or skip and count it
└── NeedsOperator   a person has to act first; a retry changes nothing

Any other exception is a bug: the work waits and is retried, and is never parked.
"""


class MRRlyticsError(Exception):
    """Base of our errors. `code` is stable and public. `message` says what was wrong and what to do next, without secrets."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Transient(MRRlyticsError):
    """Something does not answer at the moment."""


class Permanent(MRRlyticsError):
    """This input never works."""


class NeedsOperator(MRRlyticsError):
    """A person has to act before this can work."""

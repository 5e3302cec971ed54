"""What can be wrong with a request. Each becomes a problem document for programs and a page for people (answers.py).

MRRlyticsError
└── RequestError      `status` is the HTTP status, `field` the input that it speaks of
    ├── Refused 400, 404, 405, 408, 413, 415, 421, 431: the request as such, whoever asks
    ├── Unauthenticated 401 · Denied 403 · NotFound 404 · Conflict 409 · Invalid 422
    ├── TooMany 429 · Unavailable 503: `retry_after` seconds
    └── Broken 500: a mistake of ours
"""

from collections.abc import Sequence

from libs.common.errors import MRRlyticsError


class RequestError(MRRlyticsError):
    """Base of what a caller can mend."""

    status: int = 400

    def __init__(
        self, code: str, message: str, field: str | None = None, *, retry_after: int | None = None
    ) -> None:
        super().__init__(code, message)
        self.field = field
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that the answer needs."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class Refused(RequestError):
    """The request is too large, too slow, for another host or address, or no HTTP. `allowed` are the methods of its address."""

    def __init__(self, status: int, code: str, message: str, *, allowed: Sequence[str] = ()) -> None:
        super().__init__(code, message)
        self.status = status
        self._allowed = allowed

    @property
    def headers(self) -> dict[str, str]:
        """Return the header Allow, where there are methods to tell."""
        return {"Allow": ", ".join(self._allowed)} if self._allowed else {}


class Unauthenticated(RequestError):
    """Nobody is signed in, or the token is none of ours."""

    status = 401

    @property
    def headers(self) -> dict[str, str]:
        """Return the header that HTTP asks for."""
        return {"WWW-Authenticate": "Bearer"}


class Denied(RequestError):
    """Signed in, but not allowed."""

    status = 403


class NotFound(RequestError):
    """Not there, or of another organization: the two look the same."""

    status = 404


class Conflict(RequestError):
    """It contradicts what is there."""

    status = 409


class Invalid(RequestError):
    """The input cannot be used. `others` are the errors of further fields, in the order of the form."""

    status = 422
    others: tuple["Invalid", ...] = ()


class TooMany(RequestError):
    """Too often; try again after `retry_after` seconds."""

    status = 429


class Unavailable(RequestError):
    """Something that we depend on is away for now."""

    status = 503


class Broken(RequestError):
    """The gateway has a mistake."""

    status = 500


def instance_not_found() -> NotFound:
    """Return the error about an id that is no instance of the organization."""
    return NotFound("instance_not_found", "There is no such instance here. Choose one from the list.")


def sync_not_found() -> NotFound:
    """Return the error about an id that is no sync of the organization."""
    return NotFound("sync_not_found", "There is no such sync here.")


def raise_first(errors: list[Invalid]) -> None:
    """Raise the first error, which carries the others; return when there is none."""
    if errors:
        errors[0].others = tuple(errors[1:])
        raise errors[0]

"""Errors of requests. Each becomes a problem document for programs and a page for people (answers.py).

MRRlyticsError
└── RequestError      `status` is the HTTP status, `field` the input that is wrong
    ├── Refused 400, 404, 405, 408, 413, 415, 421, 431: the request itself, before any work
    ├── Unauthenticated 401 · Denied 403 · NotFound 404 · Conflict 409 · Invalid 422
    ├── TooMany 429 · Unavailable 503: `retry_after` seconds
    └── Broken 500: a mistake in our code
"""

from collections.abc import Sequence

from libs.common.errors import MRRlyticsError


class RequestError(MRRlyticsError):
    """Base of all errors with which a request is refused."""

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
        """Return the header Allow, when the address takes other methods."""
        return {"Allow": ", ".join(self._allowed)} if self._allowed else {}


class Unauthenticated(RequestError):
    """The caller is not signed in, or the token is not valid."""

    status = 401

    @property
    def headers(self) -> dict[str, str]:
        """Return the header that HTTP requires with 401."""
        return {"WWW-Authenticate": "Bearer"}


class Denied(RequestError):
    """The caller lacks the permission."""

    status = 403


class NotFound(RequestError):
    """It does not exist, or belongs to another organization: the two look the same."""

    status = 404


class Conflict(RequestError):
    """The request contradicts the present state."""

    status = 409


class Invalid(RequestError):
    """The input is not valid. `others` are the errors of further fields, in the order of the form."""

    status = 422
    others: tuple["Invalid", ...] = ()


class TooMany(RequestError):
    """The caller asks too often, and may try again after `retry_after` seconds."""

    status = 429


class Unavailable(RequestError):
    """A dependency does not answer, or too much is waiting; try again after `retry_after` seconds."""

    status = 503


class Broken(RequestError):
    """Our code has a mistake."""

    status = 500


def instance_not_found(field: str | None = None) -> NotFound:
    """Return the error for an id that no instance of the organization has. `field` is the input with the id, if there is one."""
    text = "There is no such instance in this organization. Choose one from the list."
    return NotFound("instance_not_found", text, field)


def sync_not_found() -> NotFound:
    """Return the error for an id that no sync of the organization has."""
    return NotFound(
        "sync_not_found",
        "There is no such sync in this organization. Choose one from the list of its instance.",
    )


def raise_first(errors: list[Invalid]) -> None:
    """Raise the first error, which carries the others; return when there is none."""
    if errors:
        errors[0].others = tuple(errors[1:])
        raise errors[0]

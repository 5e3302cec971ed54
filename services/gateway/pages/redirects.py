"""Where answers lead: to a page after a form, to sign-in, and back to the page that was asked for."""

import re
from typing import Final
from urllib.parse import urlencode

from fastapi.responses import RedirectResponse

# Printable ASCII without a backslash, which browsers read as a slash.
_PAGE: Final = re.compile(r"/o/[a-z0-9-]+/[!-\[\]-~]*", re.ASCII)


def see(path: str) -> RedirectResponse:
    """Return a redirect that follows a form, so that a reload repeats nothing."""
    return RedirectResponse(path, status_code=303)


def page_asked_for(text: str) -> str | None:
    """Return the path of one of our pages that an address carries, None when it could lead anywhere else."""
    return text if _PAGE.fullmatch(text) else None


def sign_in_for(place: str) -> str:
    """Return the address of sign-in that leads back to this path and query."""
    page = page_asked_for(place)
    return "/sign-in" if page is None else f"/sign-in?{urlencode({'next': page})}"

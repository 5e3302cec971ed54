"""The part of an address that names an organization: `Nimbus Hosting` is at `/o/nimbus-hosting/`."""

import re
import unicodedata
from collections.abc import Set
from itertools import count
from typing import Final

# Only the simulated company is at /o/demo/.
DEMO: Final = "demo"
_LONGEST: Final = 40


def slug_of(name: str) -> str:
    """Return the name in lower-case ASCII letters, digits and hyphens; `organization` when it has no such letter or digit."""
    letters = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", letters).strip("-")
    return words[:_LONGEST].rstrip("-") or "organization"


def free_slug(name: str, taken: Set[str]) -> str:
    """Return the slug of an organization that is not the demo: `nimbus`, or `nimbus-2` when another has it."""
    slug, used = slug_of(name), taken | {DEMO}
    if slug not in used:
        return slug
    return next(f"{slug}-{number}" for number in count(2) if f"{slug}-{number}" not in used)

"""The menu of an organization. A page is pages/<page>.py, templates/<page>.html, a line here, and its test."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from services.gateway.principals import Principal


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the menu. `path` follows the address of the organization; pages that begin with one of `below` belong to it, too."""

    name: str
    title: str
    path: str
    permission: str
    below: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        """Return whether a path is this page or belongs to it."""
        return path == self.path or path.startswith(self.below)


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the menu: it leads to its first page, and several pages are tabs. Its icon is templates/icons/<icon>.svg."""

    title: str
    icon: str
    pages: tuple[Page, ...]


SECTIONS: Final = (
    Section(
        "Overview", "overview", (Page("overview", "Overview", "/", "metrics:read", below=("/explain/",)),)
    ),
    Section("MRR", "mrr", (Page("mrr", "MRR", "/mrr", "metrics:read", below=("/mrr/",)),)),
    Section(
        "Retention",
        "retention",
        (
            Page("retention", "By month", "/retention", "metrics:read"),
            Page("cohorts", "Cohorts", "/cohorts", "metrics:read", below=("/cohorts/",)),
            Page("leaving", "Leaving soon", "/leaving", "customers:read"),
        ),
    ),
    Section(
        "Customers",
        "customers",
        (Page("customers", "Customers", "/customers", "customers:read", below=("/customers/",)),),
    ),
    Section(
        "Settings",
        "settings",
        (
            Page(
                "instances",
                "Instances",
                "/settings/instances",
                "instances:read",
                below=("/settings/instances/", "/syncs/"),
            ),
            Page("definitions", "Definitions", "/settings/definitions", "instances:write"),
            Page("currency", "Currency", "/settings/currency", "instances:write"),
            Page("data", "Data quality", "/settings/data", "customers:read"),
            Page("tokens", "API tokens", "/settings/tokens", "tokens:write", below=("/settings/tokens/",)),
        ),
    ),
)


class Link(NamedTuple):
    """A link of the menu or a tab. `current` is the value of `aria-current`, None for a page that is not open."""

    title: str
    href: str
    icon: str
    current: str | None


def menu(principal: Principal, path: str) -> list[Link]:
    """Return the sections that this person may open."""
    place = path.removeprefix(principal.home)
    links = []
    for section in SECTIONS:
        pages = _allowed(section, principal)
        if pages:
            first = pages[0]
            below = "true" if any(page.holds(place) for page in section.pages) else None
            current = "page" if place == first.path else below
            links.append(Link(section.title, f"{principal.home}{first.path}", section.icon, current))
    return links


def tabs(principal: Principal, path: str) -> list[Link]:
    """Return the pages of the open section that this person may open."""
    place = path.removeprefix(principal.home)
    return [
        Link(page.title, f"{principal.home}{page.path}", section.icon, "page" if page.holds(place) else None)
        for section in SECTIONS
        if any(page.holds(place) for page in section.pages)
        for page in _allowed(section, principal)
    ]


def _allowed(section: Section, principal: Principal) -> list[Page]:
    return [page for page in section.pages if principal.may(page.permission)]

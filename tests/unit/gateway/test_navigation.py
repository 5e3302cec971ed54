"""The menu: every page is in it, and every line of it is a page."""

import importlib
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from services.gateway import pages
from services.gateway.pages.navigation import SECTIONS, Page, menu, tabs
from services.gateway.principals import ROLES, Organization, Principal

TEMPLATES = Path(pages.__file__).parents[1] / "templates"
ORGANIZATION = Organization(UUID(int=1), "nimbus", "Nimbus", is_demo=False)
OWNER = Principal(
    user_id=UUID(int=2),
    email="owner@example.com",
    actor="owner@example.com",
    organization=ORGANIZATION,
    role="owner",
    permissions=ROLES["owner"],
    organizations=(ORGANIZATION,),
    session_id=UUID(int=3),
    csrf_token="",
    address="127.0.0.1",
    request_id="",
)


def page_paths() -> list[str]:
    """Return the path within its organization of each address that shows a page."""
    prefix = "/o/{organization}"
    return [
        route.path.removeprefix(prefix)
        for route in iter_route_contexts(pages.build_router().routes)
        if isinstance(route.original_route, APIRoute)
        and "GET" in (route.methods or ())
        and route.path.startswith(f"{prefix}/")
        and not route.path.endswith(("/live", "{rest:path}"))
    ]


@pytest.mark.parametrize("path", page_paths())
def test_menu_marks_the_section_of_every_page(path: str) -> None:
    marked = [link for link in menu(OWNER, f"/o/nimbus{path}") if link.current]

    assert len(marked) == 1


@pytest.mark.parametrize("page", [page for section in SECTIONS for page in section.pages])
def test_line_of_the_menu_is_a_page(page: Page) -> None:

    assert page.path in page_paths()
    assert importlib.import_module(f"services.gateway.pages.{page.name}").router
    assert (TEMPLATES / f"{page.name}.html").exists()


def test_section_has_an_icon() -> None:
    for section in SECTIONS:
        assert (TEMPLATES / "icons" / f"{section.icon}.svg").exists()


def test_viewer_sees_no_tab_that_is_closed() -> None:
    viewer = replace(OWNER, permissions=ROLES["viewer"])

    assert [link.title for link in tabs(viewer, "/o/nimbus/settings/instances")] == ["Instances"]
    opened = [link.title for link in tabs(OWNER, "/o/nimbus/settings/tokens")]
    assert opened == ["Instances", "Definitions", "Currency", "Data quality", "API tokens"]


def test_open_page_is_current_and_its_subpage_is_inside() -> None:
    home = menu(OWNER, "/o/nimbus/")
    sync = menu(OWNER, f"/o/nimbus/syncs/{UUID(int=4)}")

    assert {link.title: link.current for link in home if link.current} == {"Overview": "page"}
    assert {link.title: link.current for link in sync if link.current} == {"Settings": "true"}

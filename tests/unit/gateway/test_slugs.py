"""The part of an address that names an organization."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.slugs import free_slug, slug_of


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Nimbus Hosting", "nimbus-hosting"),
        ("  Ölmühle & Söhne ", "olmuhle-sohne"),
        ("租云", "organization"),
        ("x" * 60, "x" * 40),
        ("a" * 39 + " b", "a" * 39),
    ],
)
def test_slug_is_the_name_in_plain_letters(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def test_taken_slug_gets_the_next_free_number() -> None:
    assert free_slug("Nimbus", set()) == "nimbus"
    assert free_slug("Nimbus", {"nimbus"}) == "nimbus-2"
    assert free_slug("Nimbus", {"nimbus", "nimbus-2"}) == "nimbus-3"


def test_slug_of_the_demo_is_reserved() -> None:
    assert free_slug("Demo", set()) == "demo-2"


@given(st.text(max_size=80))
def test_slug_fits_into_an_address(name: str) -> None:
    assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", slug_of(name))
    assert len(slug_of(name)) <= 40
